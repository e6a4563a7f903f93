// Generates core/gomod/tests/vectors/sumdb.jsonl.gz: checksum databases of the real golang.org/x/mod/sumdb,
// with lookups, tiles, heads and proofs, and what the real client says of lookups that lie.
//
//	go run . > ../../core/gomod/tests/vectors/sumdb.jsonl.gz
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const name = "sum.example/db"

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// seed makes randomness that is the same in each run.
type seed byte

func (s seed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s)
	}
	return len(p), nil
}

// A database is a test server of x/mod with records that differ from the others' from some record on.
type database struct {
	server  *sumdb.TestServer
	handler http.Handler
	modules []module.Version
	hashes  []tlog.Hash // by storage index
}

func newDatabase(skey string, size, forkAt int, salt string) *database {
	d := &database{}
	d.server = sumdb.NewTestServer(skey, func(path, vers string) ([]byte, error) {
		s := ""
		if len(d.modules) >= forkAt {
			s = salt
		}
		return []byte(fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", path, vers, h1(path+vers+s), path, vers, h1(path+vers+s+"mod"))), nil
	})
	d.handler = sumdb.NewServer(d.server)
	d.grow(size)
	return d
}

func h1(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "h1:" + base64.StdEncoding.EncodeToString(sum[:])
}

func (d *database) grow(size int) {
	for id := len(d.modules); id < size; id++ {
		m := module.Version{Path: fmt.Sprintf("example.com/Mod%d", id%7), Version: fmt.Sprintf("v1.%d.0", id)}
		got, err := d.server.Lookup(context.Background(), m)
		check(err)
		if got != int64(id) {
			panic("lookup out of order")
		}
		records, err := d.server.ReadRecords(context.Background(), got, 1)
		check(err)
		hashes, err := tlog.StoredHashes(got, records[0], d)
		check(err)
		d.hashes = append(d.hashes, hashes...)
		d.modules = append(d.modules, m)
	}
}

func (d *database) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var list []tlog.Hash
	for _, i := range indexes {
		list = append(list, d.hashes[i])
	}
	return list, nil
}

func (d *database) get(path string) ([]byte, error) {
	r := httptest.NewRecorder()
	d.handler.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
	if r.Code != 200 {
		return nil, fmt.Errorf("%s: %d", path, r.Code)
	}
	return r.Body.Bytes(), nil
}

func (d *database) mustGet(path string) []byte {
	data, err := d.get(path)
	check(err)
	return data
}

func lookupPath(m module.Version) string {
	path, err := module.EscapePath(m.Path)
	check(err)
	return "/lookup/" + path + "@" + m.Version
}

// A tamper changes the answers of a server on their way to the client.
type tamper func(path string, data []byte) []byte

// ops is the client's outside: the known head, and the honest tiles that made it known.
type ops struct {
	vkey   string
	latest []byte
	get    func(path string) ([]byte, error)
	cached func(path string) ([]byte, error)
	fork   bool
}

func (o *ops) ReadRemote(path string) ([]byte, error) { return o.get(path) }
func (o *ops) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.vkey), nil
	}
	return o.latest, nil
}
func (o *ops) WriteConfig(file string, old, new []byte) error { return nil }
func (o *ops) ReadCache(file string) ([]byte, error) {
	return o.cached(strings.TrimPrefix(file, name))
}
func (o *ops) WriteCache(file string, data []byte) {}
func (o *ops) Log(msg string)                      {}
func (o *ops) SecurityError(msg string)            { o.fork = true }

// A lookupVector is a lookup with everything that the client fetched for it.
type lookupVector struct {
	Kind    string            `json:"kind"`
	Class   string            `json:"class"`
	Key     string            `json:"key"`
	Module  string            `json:"module"`
	Version string            `json:"version"`
	Known   string            `json:"known,omitempty"`
	Answer  []byte            `json:"answer"`
	Tiles   map[string][]byte `json:"tiles"`
	Lines   []string          `json:"lines,omitempty"`
	Fork    bool              `json:"fork,omitempty"`
	OK      bool              `json:"ok"`
}

type generator struct {
	honest *database
	enc    *json.Encoder
	rng    *rand.Rand
	key    string
}

func (g *generator) lookup(class string, d *database, known []byte, m module.Version, change tamper) {
	v := lookupVector{Kind: "lookup", Class: class, Key: g.key, Module: m.Path, Version: m.Version, Known: string(known), Tiles: map[string][]byte{}}
	o := &ops{vkey: g.key, latest: known}
	fetched := map[string][]byte{}
	var mu sync.Mutex // the client fetches tiles in parallel
	asked := false
	o.get = func(path string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = true
		data, err := d.get(path)
		if err == nil && change != nil {
			data = change(path, bytes.Clone(data))
		}
		if err == nil {
			fetched[path] = data
		}
		return data, err
	}
	o.cached = func(path string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked || !strings.HasPrefix(path, "/tile/") {
			return nil, errors.New("not kept")
		}
		fetched[path] = g.honest.mustGet(path)
		return fetched[path], nil
	}
	client := sumdb.NewClient(o)
	lines, err := client.Lookup(m.Path, m.Version)
	if err == nil {
		more, err2 := client.Lookup(m.Path, m.Version+"/go.mod")
		check(err2)
		lines = append(lines, more...)
	}
	for path, data := range fetched {
		if strings.HasPrefix(path, "/tile/") {
			v.Tiles[path[1:]] = data
		} else {
			v.Answer = data
		}
	}
	v.Lines, v.Fork = lines, o.fork
	v.OK = err == nil && len(lines) == 2
	check(g.enc.Encode(v))
}

func flip(g *generator, data []byte) []byte {
	if len(data) > 0 {
		data[g.rng.IntN(len(data))] ^= 1 << g.rng.IntN(8)
	}
	return data
}

func (g *generator) lookups(honest, forked *database, heads map[int][]byte) {
	sizes := []int{0, 1, 100, 256, 300, 511, 512, 600}
	pick := func() (module.Version, []byte) {
		return honest.modules[g.rng.IntN(len(honest.modules))], heads[sizes[g.rng.IntN(len(sizes))]]
	}
	for range 60 {
		m, known := pick()
		g.lookup("honest", honest, known, m, nil)
	}
	for range 40 {
		m, known := pick()
		old := heads[sizes[1+g.rng.IntN(len(sizes)-1)]]
		g.lookup("old-head", honest, known, m, func(path string, data []byte) []byte {
			if strings.HasPrefix(path, "/lookup/") {
				i := bytes.Index(data, []byte("\n\n"))
				return append(data[:i+2:i+2], old...)
			}
			return data
		})
	}
	for range 30 {
		m, known := pick()
		g.lookup("forked", forked, known, m, nil)
	}
	for i := range 30 {
		m, known := pick()
		g.lookup("flipped-tile", honest, known, m, func(path string, data []byte) []byte {
			// Tiles come in no fixed order, so the choice must not depend on it.
			if hash := sha256.Sum256([]byte(fmt.Sprint(path, i))); strings.HasPrefix(path, "/tile/") && hash[0]%2 == 0 {
				data[(int(hash[1])<<8|int(hash[2]))%len(data)] ^= 1 << (hash[3] % 8)
			}
			return data
		})
	}
	for range 120 {
		m, known := pick()
		g.lookup("flipped-lookup", honest, known, m, func(path string, data []byte) []byte {
			if strings.HasPrefix(path, "/lookup/") {
				return flip(g, data)
			}
			return data
		})
	}
	for range 10 {
		m, known := pick()
		other, _ := pick()
		g.lookup("unrelated", honest, known, m, func(path string, data []byte) []byte {
			if strings.HasPrefix(path, "/lookup/") && other != m {
				return honest.mustGet(lookupPath(other))
			}
			return data
		})
	}
	m, known := pick()
	g.lookup("empty", honest, known, m, func(path string, data []byte) []byte {
		if strings.HasPrefix(path, "/lookup/") {
			return nil
		}
		return data
	})
}

func (g *generator) proofs(d *database, heads map[int][]byte) {
	type proofVector struct {
		Kind   string      `json:"kind"`
		Size   int64       `json:"size"`
		Hash   tlog.Hash   `json:"hash"`
		N      int64       `json:"n"`
		NHash  tlog.Hash   `json:"n_hash"`
		Hashes []tlog.Hash `json:"hashes"`
	}
	for range 200 {
		size := 1 + g.rng.Int64N(600)
		hash, err := tlog.TreeHash(size, d)
		check(err)
		n := g.rng.Int64N(size)
		record, err := tlog.ProveRecord(size, n, d)
		check(err)
		check(g.enc.Encode(proofVector{"record-proof", size, hash, n, d.hashes[tlog.StoredHashIndex(0, n)], record}))
		older, err := tlog.TreeHash(n+1, d)
		check(err)
		tree, err := tlog.ProveTree(size, n+1, d)
		check(err)
		check(g.enc.Encode(proofVector{"tree-proof", size, hash, n + 1, older, tree}))
	}
}

func (g *generator) paths() {
	type pathVector struct {
		Kind string `json:"kind"`
		Path string `json:"path"`
		OK   bool   `json:"ok"`
	}
	parts := []string{"tile", "8", "0", "1", "data", "000", "x001", "001", "x999", "999.p", "5", "256", "255", "31", "63", "64", "-1", "x1", "0001", "", "007.p", "x000"}
	emit := func(path string) {
		_, err := tlog.ParseTilePath(path)
		check(g.enc.Encode(pathVector{"path", path, err == nil}))
	}
	for range 300 {
		t := tlog.Tile{H: 1 + g.rng.IntN(30), L: g.rng.IntN(65) - 1, N: g.rng.Int64N(1 << (1 + g.rng.IntN(50)))}
		t.W = 1 + g.rng.IntN(1<<t.H)
		emit(t.Path())
		p := strings.Split(t.Path(), "/")
		p[g.rng.IntN(len(p))] = parts[g.rng.IntN(len(parts))]
		emit(strings.Join(p, "/"))
		p = []string{"tile", "8"}
		for range 2 + g.rng.IntN(4) {
			p = append(p, parts[g.rng.IntN(len(parts))])
		}
		emit(strings.Join(p, "/"))
	}
}

func (g *generator) notes(signers []note.Signer, keys []string) {
	type noteVector struct {
		Kind string `json:"kind"`
		Key  string `json:"key"`
		Note []byte `json:"note"`
		OK   bool   `json:"ok"`
		Text string `json:"text,omitempty"`
	}
	emit := func(key string, msg []byte) {
		verifier, err := note.NewVerifier(key)
		check(err)
		n, err := note.Open(msg, note.VerifierList(verifier))
		v := noteVector{Kind: "note", Key: key, Note: msg, OK: err == nil}
		if err == nil {
			v.Text = n.Text
		}
		check(g.enc.Encode(v))
	}
	texts := []string{"a\n", "go.sum database tree\n1\nAAAA\n", "\n", "x\n\ny\n", "größe\n", strings.Repeat("line\n", 50)}
	for range 200 {
		var with []note.Signer
		for _, at := range g.rng.Perm(len(signers))[:1+g.rng.IntN(len(signers))] {
			with = append(with, signers[at])
		}
		msg, err := note.Sign(&note.Note{Text: texts[g.rng.IntN(len(texts))]}, with...)
		check(err)
		key := keys[g.rng.IntN(len(keys))]
		emit(key, msg)
		emit(key, flip(g, bytes.Clone(msg)))
		emit(key, msg[:g.rng.IntN(len(msg))])
	}
}

func main() {
	out, err := gzip.NewWriterLevel(os.Stdout, gzip.BestCompression)
	check(err)
	g := &generator{enc: json.NewEncoder(out), rng: rand.New(rand.NewPCG(5, 6))}
	var signers []note.Signer
	var skeys, vkeys []string
	for i, n := range []string{name, name, "other.example"} {
		skey, vkey, err := note.GenerateKey(seed(i+1), n)
		check(err)
		signer, err := note.NewSigner(skey)
		check(err)
		signers, skeys, vkeys = append(signers, signer), append(skeys, skey), append(vkeys, vkey)
	}
	g.key = vkeys[0]
	heads := map[int][]byte{}
	honest := newDatabase(skeys[0], 0, 0, "")
	for _, size := range []int{1, 100, 256, 300, 511, 512, 600} {
		honest.grow(size)
		heads[size] = honest.mustGet("/latest")
	}
	honest.grow(700)
	forked := newDatabase(skeys[0], 700, 50, "fork")
	g.honest = honest
	g.lookups(honest, forked, heads)
	g.proofs(honest, heads)
	g.paths()
	g.notes(signers, vkeys)
	check(out.Close())
}
