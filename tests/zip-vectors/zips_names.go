package main

import (
	"strings"
)

var oddNames = []string{
	"CON", "con.txt", "x/aux", "NUL.go", "com1", "COM10", "LPT9.x", "console", "a.con", "a", "a.", "a..", "..", ".", "...",
	"./a", "../a", "a/../b", "/a", "a//b", "a\\b", "a:b", "a*b", "a?b", "a<b", "a>b", "a|b", "a\"b", "a'b", "a`b", "a;b",
	"a\x00b", "a\nb", "a\rb", "a\tb", "a\x7fb", "a\x1fb", " ", " a", "a ", "a/ /b", "~", "a~1", "a~1.go", "-", "-a", "{}", "[a]",
	"!#$%&()+,-.=@[]^_{}~ ", "é", "e\u0301", "日本語.go", "☃", "\u00a0", "\u200b", "\u2028", "\ufeff", "\ufffd", "\xff", "a\xc3", "\xed\xa0\x80",
	"ǅ", "ª", "²", "Ⅷ", "ⓐ", "\U0001F600", "𝒳", "ﬀ", "ß", "ſ", "K", "İ", "ı",
	".hg_archival.txt", ".git/config", ".gitignore", "vendor/modules.txt", "vendor/x/y.go", "vendor/y.go", "x/vendor/y/z.go",
	"GO.MOD", "Go.mod", "go.mod/x", "x/go.mod", "x/GO.MOD", "x/go.mod/", "go.mod/", "GO.MOD/", "x/go.mod/y", "go.modx", "xgo.mod", "go.ſum", "ſo.mod", "go.work",
	"license", "LICENSE", "x/LICENSE", "", "/", "//", "a/", "a/b/", "../", "./", "con/", "a./",
	strings.Repeat("d/", 60) + "f", strings.Repeat("n", 255),
}

var collisions = [][]string{
	{"a", "A"}, {"a", "a"}, {"a/x", "A/y"}, {"a/x", "a/X"}, {"a", "a/b"}, {"a/b", "a"}, {"a/", "a"}, {"a", "a/"}, {"a/", "a/"},
	{"a/", "A/"}, {"a/b", "a/"}, {"k", "\u212a"}, {"s", "ſ"}, {"ß", "ẞ"}, {"ς", "σ"}, {"Σ", "ς"}, {"é", "É"}, {"ǆ", "ǅ"}, {"i", "İ"}, {"i", "ı"}, {"ﬅ", "ﬆ"},
	{"ø", "Ø"}, {"я", "Я"}, {"Ꭰ", "ꭰ"}, {"a/b/c", "a/b/C"}, {"a/b/c", "a/B/d"}, {"a/b/c", "a/bc"}, {"x", "y"}, {"a", "b/a"},
	{"a/b", "c/b"}, {"a b", "A b"}, {"K/x", "k/y"}, {"θ", "ϑ"}, {"µ", "μ"}, {"Å", "Å"}, {"ᲀ", "в"},
}

var pieces = []string{
	"a", "A", "b", "go.mod", "GO.mod", "LICENSE", "con", "aux.x", ".", "..", "", " ", "x y", "é", "K", "k", "ſ", "s", "日", "☃", "~1",
	"\\", ":", "\x01", "\xff", "vendor", ".git", "-",
}

func (w *zipWriter) names() {
	for _, name := range oddNames {
		w.add("name", with(file(name, "x")))
		w.add("name-alone", archive{entries: []entry{{name: prefix + name}}})
	}
	for _, pair := range collisions {
		w.add("collision", with(file(pair[0], "x"), file(pair[1], "y")))
		w.add("collision", with(file(pair[1], "x"), file(pair[0], "y")))
	}
	for range 1000 {
		var entries []entry
		for range 1 + w.rng.IntN(4) {
			var parts []string
			for range 1 + w.rng.IntN(3) {
				// Mostly harmless, or nearly no zip of several files would be accepted.
				n := len(pieces)
				if w.rng.IntN(3) > 0 {
					n = 3
				}
				parts = append(parts, pieces[w.rng.IntN(n)])
			}
			name := strings.Join(parts, "/")
			if w.rng.IntN(6) == 0 {
				name += "/"
			}
			entries = append(entries, file(name, ""))
		}
		w.add("names", archive{entries: entries})
	}
	for _, name := range []string{"", "a", "a.b/c@v1.0.0", "a.b/c@v1.0.1/x", "a.b/c@v1.0.0//x", "A.b/c@v1.0.0/x", "/a.b/c@v1.0.0/x", "a.b/c@v1.0.0\\x", "a.b/c/x", "./a.b/c@v1.0.0/x", "a.b/d@v1.0.0/x"} {
		w.add("prefix", with(entry{name: name, content: []byte("x")}))
		w.add("prefix", with(entry{name: name + "/"}))
	}
	w.add("prefix-entry", with(entry{name: prefix}))
	w.add("prefix-entry", with(entry{name: prefix}, entry{name: prefix}))
	w.add("directory", with(entry{name: prefix + "d/"}, entry{name: prefix + "d/"}, file("d/x", "x")))
	w.add("directory", with(entry{name: prefix + "d/", method: 8, content: nil}))
	w.add("directory", with(entry{name: prefix + "d/", method: 8, descriptor: 16}))
	w.add("directory", with(entry{name: prefix + "d/", flags: 8}))
	w.add("directory", with(entry{name: prefix + "d/", method: 99}))
	w.add("directory-content", with(entry{name: prefix + "d/", content: []byte("x")}))
	w.add("directory-content", with(entry{name: prefix + "d/", content: []byte("xyz"), central: func(h *header) { h.uncompressed = 0 }}))
}
