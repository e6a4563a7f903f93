package main

import (
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// A generator makes inputs: real ones, broken ones, and those just beside the border.
type generator struct {
	*rand.Rand
}

func newGenerator(seed, stream uint64) *generator {
	return &generator{rand.New(rand.NewPCG(seed, stream))}
}

func (g *generator) pick(from []string) string {
	return from[g.IntN(len(from))]
}

// chance is true one time in n.
func (g *generator) chance(n int) bool {
	return g.IntN(n) == 0
}

// balanced collects count different inputs from next, half of which satisfy valid, as far as next yields them.
func balanced[T comparable](count int, next func() T, valid func(T) bool) []T {
	const tries = 200
	seen := make(map[T]bool)
	var all []T
	for i := range count {
		for range tries {
			in := next()
			if !seen[in] && valid(in) == (i%2 == 0) {
				seen[in] = true
				all = append(all, in)
				break
			}
		}
	}
	return all
}

// Characters that rules are about: allowed in some place and refused in another.
var characters = strings.Split("a b z A Z K 0 1 9 - . _ ~ + ! / @ % : \\ * ? [ ] ( ) { } , ; = # $ & ^ ' \" ` < > |", " ")

var oddCharacters = []string{
	" ", "\x00", "\t", "\n", "\r", "\x01", "\x7f", "\u0080", "é", "ſ", "K", "ß", "日", "\u200b", "\u00a0", "\ufeff",
	"\u0301", "\U0001f600", "//", "/*", "..", "!!", "~1", "+incompatible", "-0",
}

// mutate changes text in one to three places.
func (g *generator) mutate(text string, parts []string) string {
	for range 1 + g.IntN(3) {
		at := g.boundary(text)
		end := at
		if at < len(text) {
			_, size := utf8.DecodeRuneInString(text[at:])
			end += size
		}
		switch g.IntN(9) {
		case 0:
			text = text[:at] + g.pick(characters) + text[at:]
		case 1:
			text = text[:at] + g.pick(characters) + text[end:]
		case 2:
			text = text[:at] + text[end:]
		case 3:
			text = text[:at] + g.pick(oddCharacters) + text[at:]
		case 4:
			text = text[:at] + g.pick(parts) + text[at:]
		case 5:
			text = text[:at] + strings.ToUpper(text[at:end]) + text[end:]
		case 6:
			text = text[at:] + text[:at]
		case 7:
			text += g.pick(parts)
		case 8:
			text = text[:at] + strings.Repeat(text[at:end], 1+g.IntN(20)) + text[end:]
		}
	}
	return text
}

// boundary picks a place between two characters.
func (g *generator) boundary(text string) int {
	at := g.IntN(len(text) + 1)
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}

var realPaths = []string{
	"golang.org/x/mod", "golang.org/x/text", "golang.org/toolchain", "github.com/BurntSushi/toml", "github.com/Azure/azure-sdk-for-go/sdk/azcore",
	"github.com/docker/docker", "github.com/go-chi/chi/v5", "github.com/hashicorp/golang-lru/v2", "github.com/DATA-DOG/go-sqlmock",
	"gopkg.in/yaml.v2", "gopkg.in/yaml.v3", "gopkg.in/check.v1", "gopkg.in/natefinch/lumberjack.v2", "gopkg.in/macaroon.v0", "gopkg.in/macaroon.v2-unstable",
	"rsc.io/quote/v3", "k8s.io/api", "cloud.google.com/go/storage", "example.com", "git.corp.example/team/repo.git/sub/v12",
	"honnef.co/go/tools", "modernc.org/sqlite", "go.etcd.io/etcd/client/v3", "sigs.k8s.io/yaml", "xn--bcher-kva.example/x", "a.b-c.d/e_f~g",
}

var pathParts = []string{
	"/v0", "/v1", "/v2", "/v02", "/v10", "/v2.1", "/v", "/V2", "v2", ".v1", ".v0", ".v01", ".v2", ".v", "-unstable", ".v1-unstable", ".v0-unstable", ".v-unstable", "/v99999999999999999999",
	"/con", "/CON", "/Nul.txt", "/aux.v2", "/com1", "/com0", "/LPT9.go", "/lpt10", "/prn-x", "/x~1", "/x~12.y", "/x~", "/~1", "/a~1b", "/x.y~1", "/a~b~1", "/a~1~", "/a~1~2", "~", "~2",
	"/..", "/.", "/...", "/.git", "/a.", "/a..b", "//", "/", "-", "/-x", "/internal", "/UPPER", "gopkg.in/", "gopkg.in", "github.com/", "/@v", "/é",
}

// path makes a module path or something like one, within the length that core/gomod allows.
func (g *generator) path() string {
	path := g.pick(realPaths)
	if g.chance(3) {
		path = g.pick(realPaths) + "/" + g.pick(realPaths)
	}
	for g.chance(3) {
		path += g.pick(pathParts)
	}
	for !g.chance(3) {
		path = g.mutate(path, pathParts)
	}
	return truncate(path, 700)
}

var realVersions = []string{
	"v0.0.0", "v1.2.3", "v1.10.0", "v0.9.99", "v2.0.0", "v2.0.0+incompatible", "v20.10.7+incompatible", "v1.0.0-rc.1", "v1.0.0-alpha", "v1.0.0-alpha.beta.11",
	"v0.0.0-20161208181325-20d25e280405", "v1.2.4-0.20200101000000-abcdef123456", "v1.2.3-pre.0.20211231235959-abcdef123456", "v2.0.1-0.20190101123456-0123456789ab+incompatible",
	"v3.0.0-20190101123456-0123456789ab", "v0.0.1-go1.22.0.linux-amd64", "v0.0.1-go1.23rc2.windows-arm64", "v1.9.0", "v1.0.0-0", "v1.0.0-0.0", "v0.0.0-00010101000000-000000000000",
	"v1.0.0-0.20200101000000-abcdef123456", "v2.0.0-20200101000000-abcdef123456+incompatible", "v4.5.6-RC1", "v1.0.0-beta+exp.sha.5114f85", "v1", "v1.2", "v18446744073709551616.0.0",
	"v1.2.10-0.20240229120000-abcdefABCDEF", "v1.3.0-beta.9.0.20230230000000-abcdef123456", "v1.2.0-0.20200101246000-abc",
}

var versionParts = []string{
	"-0", "-01", "-1", "-a", "-a.b", "-a..b", "-.", "-", "+", "+incompatible", "+meta", "+a.b", "+a+b", ".0", ".1", ".10", ".01", "00", "v", "-rc.1", "-RC", "-0.", ".0.",
	"-20200101000000-abcdef123456", "-0.20200101000000-abcdef123456", "-pre.0.20200101000000-abcdef123456", "-00000000000000-a", "-0.20209999999999-abc", "-20200101000000", "-a-b-c",
	"99999999999999999999", "-x-y.0.20200101000000-a", "-18446744073709551616", "-9", "-10",
}

// version makes a version or something like one, within the length that core/gomod allows.
func (g *generator) version() string {
	version := g.pick(realVersions)
	if g.chance(4) {
		version = "v" + g.number() + "." + g.number() + "." + g.number() + g.pick(append(versionParts, "", "", ""))
	}
	for g.chance(3) {
		version += g.pick(versionParts)
	}
	for !g.chance(3) {
		version = g.mutate(version, versionParts)
	}
	return truncate(version, 250)
}

func (g *generator) number() string {
	return g.pick([]string{"0", "0", "1", "1", "2", "3", "9", "10", "99", "100", "01", "999", "18446744073709551615", "18446744073709551616"})
}

func truncate(text string, bytes int) string {
	for len(text) > bytes {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
