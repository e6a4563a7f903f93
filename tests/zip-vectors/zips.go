package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// A zipVector is one zip and what the go command thinks of it.
type zipVector struct {
	Class   string `json:"class"`
	Module  string `json:"module"`
	Version string `json:"version"`
	Zip     []byte `json:"zip"`
	OK      bool   `json:"ok"`
	H1      string `json:"h1,omitempty"`
	Error   string `json:"error,omitempty"`
}

type zipWriter struct {
	enc *json.Encoder
	dir string
	rng *rand.Rand
	n   int
}

// The module whose zips these are; short, since the prefix stands in every name twice.
var vectorModule = module.Version{Path: "a.b/c", Version: "v1.0.0"}

const prefix = "a.b/c@v1.0.0/"

func writeZips(enc *json.Encoder) {
	dir, err := os.MkdirTemp("", "zips")
	check(err)
	defer os.RemoveAll(dir)
	w := &zipWriter{enc: enc, dir: dir, rng: rand.New(rand.NewPCG(1, 2))}
	w.valid()
	w.names()
	w.framing()
	w.contents()
	w.mutations()
}

func (w *zipWriter) add(class string, a archive) { w.addBytes(class, a.build()) }

func (w *zipWriter) addBytes(class string, data []byte) {
	v := zipVector{Class: class, Module: vectorModule.Path, Version: vectorModule.Version, Zip: data}
	h1, err := w.judge(data)
	if err != nil {
		// The path of the temporary file would differ from run to run.
		v.Error = string(bytes.ReplaceAll([]byte(err.Error()), []byte(w.dir), nil))
		if len(v.Error) > 60 {
			v.Error = v.Error[:60]
		}
	} else {
		v.OK, v.H1 = true, h1
	}
	w.n++
	check(w.enc.Encode(v))
}

// judge does what the go command does with a downloaded zip.
func (w *zipWriter) judge(data []byte) (string, error) {
	file := filepath.Join(w.dir, "m.zip")
	check(os.WriteFile(file, data, 0o600))
	if _, err := zip.CheckZip(vectorModule, file); err != nil {
		return "", err
	}
	to := filepath.Join(w.dir, "to")
	err := zip.Unzip(to, vectorModule, file)
	check(os.RemoveAll(to))
	if err != nil {
		return "", err
	}
	return dirhash.HashZip(file, dirhash.Hash1)
}

func file(name string, content string) entry {
	if strings.HasSuffix(name, "/") {
		content = "" // a directory with content is refused for that alone
	}
	return entry{name: prefix + name, content: []byte(content), method: 8, descriptor: 16}
}

// with is a zip of a go.mod and the given entries.
func with(entries ...entry) archive {
	return archive{entries: append([]entry{file("go.mod", "module a.b/c\n")}, entries...)}
}
