package main

import (
	archivezip "archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/zip"
)

// A memFile is a file of x/mod's zip.Create.
type memFile struct {
	path    string
	content string
	mode    os.FileMode
	size    int64 // when not the content's
}

func (f memFile) Path() string                { return f.path }
func (f memFile) Lstat() (os.FileInfo, error) { return f, nil }
func (f memFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.content)), nil
}
func (f memFile) Name() string       { return f.path[strings.LastIndex(f.path, "/")+1:] }
func (f memFile) Mode() os.FileMode  { return f.mode }
func (f memFile) ModTime() time.Time { return time.Time{} }
func (f memFile) IsDir() bool        { return f.mode.IsDir() }
func (f memFile) Sys() any           { return nil }

func (f memFile) Size() int64 {
	if f.size != 0 {
		return f.size
	}
	return int64(len(f.content))
}

var contents = []string{"", "x", "package c\n", strings.Repeat("package c // again\n", 20), "größe\n", "PK\x03\x04PK\x05\x06"}

func (w *zipWriter) content() string {
	if w.rng.IntN(4) > 0 {
		return contents[w.rng.IntN(len(contents))]
	}
	random := make([]byte, w.rng.IntN(100))
	for i := range random {
		random[i] = byte(w.rng.Uint32())
	}
	return string(random)
}

// tree is a few files that may stand beside each other.
func (w *zipWriter) tree() []memFile {
	var files []memFile
	for _, name := range []string{"go.mod", "LICENSE", "a.go", "b b.go", "x/x.go", "x/y/z.txt", "日本/ü.go", ".github/w.yml", "vendorx/v.go"} {
		if w.rng.IntN(2) == 0 {
			files = append(files, memFile{path: name, content: w.content()})
		}
	}
	w.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	return files
}

func (w *zipWriter) valid() {
	w.add("valid", archive{})
	for range 100 {
		var files []zip.File
		for _, f := range w.tree() {
			files = append(files, f)
		}
		var buf bytes.Buffer
		check(zip.Create(&buf, vectorModule, files))
		w.addBytes("valid", buf.Bytes())
	}
	for range 300 {
		w.addBytes("valid", w.writerZip())
	}
	for range 400 {
		w.add("valid", w.builtZip())
	}
}

// writerZip is made by archive/zip in every way it can be used.
func (w *zipWriter) writerZip() []byte {
	var buf bytes.Buffer
	zw := archivezip.NewWriter(&buf)
	if w.rng.IntN(3) == 0 {
		check(zw.SetComment("comment " + fmt.Sprint(w.rng.IntN(100))))
	}
	for _, f := range w.tree() {
		h := &archivezip.FileHeader{Name: prefix + f.path, Method: uint16(8 * w.rng.IntN(2))}
		if w.rng.IntN(2) == 0 {
			h.SetMode(0o644)
		}
		if w.rng.IntN(3) == 0 {
			h.Modified = time.Unix(1700000000, 0).UTC()
		}
		if dir, _, ok := strings.Cut(f.path, "/"); ok && w.rng.IntN(2) == 0 {
			_, err := zw.CreateHeader(&archivezip.FileHeader{Name: prefix + dir + "/"})
			check(err)
		}
		if w.rng.IntN(4) == 0 {
			data := []byte(f.content)
			h.CRC32, h.UncompressedSize64 = crc32.ChecksumIEEE(data), uint64(len(data))
			if h.Method == 8 {
				data = deflated(data)
			}
			h.CompressedSize64 = uint64(len(data))
			out, err := zw.CreateRaw(h)
			check(err)
			_, err = out.Write(data)
			check(err)
			continue
		}
		out, err := zw.CreateHeader(h)
		check(err)
		_, err = io.WriteString(out, f.content)
		check(err)
	}
	check(zw.Close())
	return buf.Bytes()
}

// builtZip is valid in ways that other writers use.
func (w *zipWriter) builtZip() archive {
	a := archive{zip64: w.rng.IntN(4) == 0, reverse: w.rng.IntN(4) == 0}
	if w.rng.IntN(3) == 0 {
		a.comment = []byte("a comment")
	}
	for _, f := range w.tree() {
		e := entry{name: prefix + f.path, content: []byte(f.content), method: uint16(8 * w.rng.IntN(2))}
		e.descriptor = []int{0, 0, 12, 16, 20, 24}[w.rng.IntN(6)]
		e.zip64 = w.rng.IntN(4) == 0
		e.madeBy = []uint16{0, 3 << 8, 19 << 8, 10 << 8}[w.rng.IntN(4)]
		e.attrs = []uint32{0, 0o100644 << 16, 0o644 << 16}[w.rng.IntN(3)]
		if w.rng.IntN(3) == 0 {
			e.extra = []byte("UT\x05\x00\x01abcd")
			e.localExtra = []byte("UT\x09\x00\x01abcdefgh")
		}
		if w.rng.IntN(5) == 0 {
			e.comment = "entry"
		}
		a.entries = append(a.entries, e)
	}
	if w.rng.IntN(3) == 0 {
		a.entries = append(a.entries, entry{name: prefix + "empty/", madeBy: 3 << 8, attrs: 0o040755 << 16})
	}
	return a
}
