package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

type modfileCase struct {
	In   string `json:"in"`
	OK   bool   `json:"ok"`
	Path string `json:"path,omitempty"`
	Go   string `json:"go,omitempty"`
	// What it requires, of modules with valid paths.
	Require []string `json:"require,omitempty"`
}

var modfileParts = []string{
	"module a.b/c\n", "module a.b/c // comment\n", "module \"a.b/c\"\n", "module `a.b/c`\n", "module \"a.b/\\x63\\u0064\\n\"\n", "module (\n\ta.b/c\n)\n", "module (\n)\n", "module()\n", "module\n",
	"module a.b/c/v2 extra\n", "module x\n", "\tmodule\ta.b/d\r\n", "// module a.b/e\n", "module 'a'\n", "module a\"b\n", "module (", ")\n", "(\n", "modules a\n", "\"module\" a.b/f\n",
	"go 1.21\n", "go 1.22rc1\n", "go 1.21.3\n", "go v1.2.x\n", "go 1.12+ // x\n", "go 1\n", "go \"1.21\"\n", "go (\n\t1.21\n)\n", "go 1.21 1.22\n", "go 01.2\n", "go 1.02\n", "go 1.2.03\n", "go 1.2.x3\n",
	"require a.b/x v1.0.0\n", "require a.b/z/v2 v2.0.0 // indirect\n", "require \"a.b/q\" `v1.2.3`\n", "require a.b/p v2.0.0+incompatible\n", "require gopkg.in/y.v2 v2.1.0\n", "require ()\n", "require a.b/x v1\n", "require a.b/x v1.0.0+meta\n", "require a.b/x/v3 v2.0.0\n", "require a..b v1.0.0\n", "require a.b/x v1.0.0 v1.1.0\n", "require (\n\ta.b/x v1.0.0 // indirect\n\ta.b/y v0.0.1\n)\n", "require (\n", "exclude (\n\tmodule v1\n)\n", "unknown ( ) x\n", "unknown ( )\n", "unknown (( \n)\n", "tool x\n",
	"/* no */\n", "// comment\n", "\n", " \n", "\r\n", "x // (\n", "x \"(\"\n", "x \"a//b\" `c\\`\n", "x \"open\n", "x [ ] { } ,\n", "x a//b\n", "x a/*b\n",
}

func modfileCases(g *generator, count int) (cases []any) {
	next := func() string {
		var text strings.Builder
		for range 1 + g.IntN(5) {
			part := g.pick(modfileParts)
			if g.chance(8) {
				part = g.mutate(part, modfileParts)
			}
			text.WriteString(part)
		}
		return text.String()
	}
	valid := func(in string) bool { return readModfile(in).OK }
	for _, in := range balanced(count, next, valid) {
		cases = append(cases, readModfile(in))
	}
	return cases
}

func readModfile(in string) modfileCase {
	c := modfileCase{In: in}
	file, err := modfile.ParseLax("go.mod", []byte(in), nil)
	if err != nil || file.Module == nil {
		return c
	}
	c.OK, c.Path = true, file.Module.Mod.Path
	if file.Go != nil {
		c.Go = file.Go.Version
	}
	for _, r := range file.Require {
		if module.Check(r.Mod.Path, r.Mod.Version) == nil {
			c.Require = append(c.Require, r.Mod.Path+"@"+r.Mod.Version)
		}
	}
	return c
}

type infoCase struct {
	In      string `json:"in"`
	OK      bool   `json:"ok"`
	Version string `json:"version,omitempty"`
	TimeOK  bool   `json:"time_ok,omitempty"`
}

var infoKeys = []string{
	"Version", "Version", "Version", "version", "VERSION", "Ver\\u017fion", "Verſion", "Versio", "Versionn", "Time", "time", "TIME", "tIme", "Origin", "", "\\u0054ime", "\\u212Aind",
}

var infoValues = []string{
	`"v1.2.3"`, `"v1.2.3"`, `"v1.2.4-rc.1"`, `"v0.0.0-20161208181325-20d25e280405"`, `"v1"`, `"v1.0.0+meta"`, `"v\u0031.0.0"`, `""`, `null`, `1`, `true`, `{}`, `[]`, `{"VCS":"git","Hash":"ab"}`, `[[[1.5e9]]]`,
	`"2020-01-02T03:04:05Z"`, `"2020-01-02T03:04:05Z"`, `"2020-01-02T03:04:05.123456789+02:00"`, `"2020-01-02t03:04:05z"`, `"2020-02-30T00:00:00Z"`, `"2016-12-31T23:59:60Z"`, `"2020-01-02 03:04:05Z"`,
	`"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"2020-01-02T24:00:00Z"`, `"2020-01-02T03:04:05,5Z"`, `"2020-01-02T03:04:05.Z"`, `"2020-01-02T03:04:05-24:00"`, `"2020-01-02T03:04:05+23:59"`,
	`"2020-01-02T03:04:05"`, `"2020-01-02T03:04Z"`, `"2020-1-02T03:04:05Z"`, `"yesterday"`, `"2020-01-02T03:04:05Z "`, `"2020-01-02T3:04:05Z"`,
}

func infoCases(g *generator, count int) (cases []any) {
	next := func() string {
		fields := []string{}
		for range 1 + g.IntN(4) {
			fields = append(fields, `"`+g.pick(infoKeys)+`":`+g.pick(infoValues))
		}
		if g.chance(2) {
			fields = append(fields, `"Version":"v1.5.0"`)
		}
		in := "{" + strings.Join(fields, ",") + "}"
		if g.chance(6) {
			in = g.mutate(in, []string{"{", "}", `"`, ",", ":", "null", "\\", "1", "\ufeff"})
		}
		return in
	}
	valid := func(in string) bool { return readInfo(in).OK }
	for _, in := range balanced(count, next, valid) {
		cases = append(cases, readInfo(in))
	}
	return cases
}

// readInfo reads metadata as the go command does, but for a Time that is none: the proxy passes it on.
func readInfo(in string) infoCase {
	c := infoCase{In: in}
	var fields struct {
		Version string
		Time    rawTime
	}
	if json.Unmarshal([]byte(in), &fields) != nil {
		return c
	}
	c.OK, c.Version = true, fields.Version
	var t time.Time
	c.TimeOK = rfc3339.Match(fields.Time) && json.Unmarshal(fields.Time, &t) == nil
	return c
}

// The grammar of RFC 3339 with capitals. The time package still lets some other forms through (go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"$`)

// A rawTime is left alone by null, like a time.Time.
type rawTime []byte

func (t *rawTime) UnmarshalJSON(value []byte) error {
	if string(value) != "null" {
		*t = slices.Clone(value)
	}
	return nil
}
