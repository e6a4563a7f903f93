package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/mod/zip"
)

// A selection is a list of files and which of them belong into the module's zip.
type selection struct {
	Files   []selectFile      `json:"files"`
	GoMod   string            `json:"go_mod,omitempty"`
	Go      string            `json:"go,omitempty"`
	Valid   []string          `json:"valid"`
	Omitted map[string]string `json:"omitted,omitempty"`
	Invalid map[string]string `json:"invalid,omitempty"`
	TooBig  bool              `json:"too_big,omitempty"`
}

type selectFile struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Size int64  `json:"size"`
}

var goLines = []string{
	"", "1.1", "1.9", "1.16", "1.23", "1.23.99", "1.24", "1.24.0", "1.24rc1", "1.24.1", "1.25", "1.100", "2.0", "1.024", "01.24", "1.24.0.1",
	"1", "v1.24", "v1.24.0", "1.24foo", "1.24-foo", "1.2.4", "1.24.x", "x", "1.24.00", "1.240", "0.24", "1.24beta", "v1.25x", "1.23foo24",
}

var selectPaths = []string{
	"a.go", "LICENSE", "README.md", "x/a.go", "x/y/z.go", "vendor/modules.txt", "vendor/a.go", "vendor/x/a.go", "vendor/x/y/a.go", "x/vendor/modules.txt",
	"x/vendor/vendor.go", "x/vendor/y/a.go", "pkg/vendor/vendor.go", "pkg/vendor/foo/foo.go", "longpackagename/vendor/a.go", "longpackagename/vendor/x/a.go", "xvendor/x/a.go", "vendorx/x/a.go", "x/vendor", "vendor",
	".hg_archival.txt", "x/.hg_archival.txt", "nested/go.mod", "nested/a.go", "nested/deep/a.go", "nested2/GO.MOD", "nested2/a.go", "nested/go.mod/x", "x/go.mod", "vendor/x/go.mod",
	"GO.MOD", "Go.Mod", "A.go", "X/b.go", "CON", "a:b", "./a", "/abs", "a//b", "..", "x/../y", "é.go", "É.go", "☃", ".git/config", "go.work", "license",
	"vendor/vendor/a.go", "vendor/vendor/x/a.go", "x/vendor/y/vendor/z/a.go", "x/vendor/y/vendor/a.go", "vendor/go.mod",
}

func writeSelections(enc *json.Encoder) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, line := range goLines {
		for _, path := range selectPaths {
			writeSelection(enc, line, []memFile{{path: path, content: "x"}})
		}
	}
	modes := []os.FileMode{0o644, 0o644, 0o644, 0o644, 0o644, 0o644, os.ModeSymlink | 0o777, os.ModeNamedPipe, os.ModeDir | 0o755}
	sizes := []int64{0, 0, 0, 1, 16 << 20, 16<<20 + 1, 250 << 20, 500 << 20, 500<<20 + 1}
	for range 1500 {
		var files []memFile
		for _, at := range rng.Perm(len(selectPaths))[:1+rng.IntN(9)] {
			mode := modes[rng.IntN(len(modes))]
			files = append(files, memFile{path: selectPaths[at], content: "x", mode: mode, size: sizes[rng.IntN(len(sizes))]})
		}
		writeSelection(enc, goLines[rng.IntN(len(goLines))], files)
	}
	for _, size := range []int64{16 << 20, 16<<20 + 1} {
		for _, name := range []string{"go.mod", "LICENSE", "x/LICENSE"} {
			emitSelection(enc, "", []memFile{{path: name, content: "module a.b/c\n", size: size}})
		}
	}
	emitSelection(enc, "", []memFile{{path: "go.mod", mode: os.ModeSymlink}, {path: "x/go.mod", mode: os.ModeSymlink}, {path: "x/a.go"}})
	emitSelection(enc, "", []memFile{{path: "x/go.mod", mode: os.ModeDir}, {path: "x/a.go"}})
}

func writeSelection(enc *json.Encoder, goLine string, files []memFile) {
	goMod := "module a.b/c\n"
	if goLine != "" {
		goMod += "\ngo " + goLine + "\n"
	}
	emitSelection(enc, goLine, append([]memFile{{path: "go.mod", content: goMod}}, files...))
}

func emitSelection(enc *json.Encoder, goLine string, files []memFile) {
	s := selection{Valid: []string{}, Omitted: map[string]string{}, Invalid: map[string]string{}, Go: goLine}
	var list []zip.File
	for _, f := range files {
		kind := "other"
		switch {
		case f.mode.IsRegular():
			kind = "file"
		case f.mode.IsDir():
			kind = "directory"
		case f.mode&os.ModeSymlink != 0:
			kind = "symlink"
		}
		if f.path == "go.mod" && kind == "file" {
			s.GoMod = f.content
		}
		s.Files = append(s.Files, selectFile{f.path, kind, f.Size()})
		list = append(list, f)
	}
	cf, _ := zip.CheckFiles(list)
	s.Valid = append(s.Valid, cf.Valid...)
	for _, e := range cf.Omitted {
		s.Omitted[e.Path] = e.Err.Error()
	}
	for _, e := range cf.Invalid {
		text, _, _ := strings.Cut(e.Err.Error(), ":")
		s.Invalid[e.Path] = text
	}
	s.TooBig = cf.SizeError != nil
	check(enc.Encode(s))
}
