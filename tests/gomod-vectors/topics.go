package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

type pathCase struct {
	In      string `json:"in"`
	OK      bool   `json:"ok"`
	Escaped string `json:"escaped,omitempty"`
	Prefix  string `json:"prefix,omitempty"`
	Major   string `json:"major,omitempty"`
}

func pathCases(g *generator, count int) (cases []any) {
	for _, in := range balanced(2*count, g.path, isPath) {
		c := pathCase{In: in, OK: isPath(in)}
		if c.OK {
			c.Escaped, _ = module.EscapePath(in)
			c.Prefix, c.Major, _ = module.SplitPathVersion(in)
		}
		cases = append(cases, c)
	}
	return cases
}

func isPath(path string) bool { return module.CheckPath(path) == nil }

type escapedCase struct {
	In  string `json:"in"`
	OK  bool   `json:"ok"`
	Out string `json:"out,omitempty"`
}

func escapedPathCases(g *generator, count int) (cases []any) {
	valid := func(in string) bool { _, err := module.UnescapePath(in); return err == nil }
	for _, in := range balanced(count, func() string { return g.escape(g.path()) }, valid) {
		out, err := module.UnescapePath(in)
		cases = append(cases, escapedCase{in, err == nil, out})
	}
	return cases
}

func escapedVersionCases(g *generator, count int) (cases []any) {
	next := func() string {
		if g.chance(2) {
			return g.escape(g.mutate(g.pick([]string{"main", "master", "HEAD", "release-1.2", "latest", "abcdef0", "a b"}), versionParts))
		}
		return g.escape(g.version())
	}
	valid := func(in string) bool { _, err := module.UnescapeVersion(in); return err == nil }
	for _, in := range balanced(count, next, valid) {
		out, err := module.UnescapeVersion(in)
		cases = append(cases, escapedCase{in, err == nil, out})
	}
	return cases
}

// escape escapes capitals, most of the time.
func (g *generator) escape(text string) string {
	var escaped strings.Builder
	for _, r := range text {
		switch {
		case 'A' <= r && r <= 'Z' && !g.chance(10):
			escaped.WriteString("!" + strings.ToLower(string(r)))
		case g.chance(80):
			escaped.WriteString("!" + string(r))
		default:
			escaped.WriteRune(r)
		}
	}
	return escaped.String()
}

type versionCase struct {
	In         string `json:"in"`
	Valid      bool   `json:"valid"`
	Canonical  string `json:"canonical,omitempty"`
	Major      string `json:"major,omitempty"`
	Prerelease string `json:"prerelease,omitempty"`
	Pseudo     bool   `json:"pseudo,omitempty"`
	Escaped    string `json:"escaped,omitempty"`
}

func versionCases(g *generator, count int) (cases []any) {
	isCanonical := func(in string) bool { return semver.IsValid(in) && module.CanonicalVersion(in) == in }
	for _, in := range balanced(2*count, g.version, isCanonical) {
		c := versionCase{In: in, Valid: semver.IsValid(in), Canonical: module.CanonicalVersion(in)}
		c.Major, c.Prerelease, c.Pseudo = semver.Major(in), semver.Prerelease(in), module.IsPseudoVersion(in)
		c.Escaped, _ = module.EscapeVersion(in)
		cases = append(cases, c)
	}
	return cases
}

type orderCase struct {
	A     string `json:"a"`
	B     string `json:"b"`
	Order int    `json:"order"`
}

func orderCases(g *generator, count int) (cases []any) {
	canonical := func() string {
		for {
			if v := module.CanonicalVersion(g.version()); v != "" {
				return v
			}
		}
	}
	for len(cases) < count {
		a, b := canonical(), canonical()
		if g.chance(2) {
			// Neighbours: the same version but for a few changes.
			b = module.CanonicalVersion(g.mutate(a, versionParts))
		}
		if b != "" && len(b) <= 250 {
			cases = append(cases, orderCase{a, b, semver.Compare(a, b)})
		}
	}
	return cases
}

type checkCase struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	OK      bool   `json:"ok"`
}

func checkCases(g *generator, count int) (cases []any) {
	next := func() [2]string {
		// Mostly valid halves: the question is whether they fit.
		path, version := g.pick(realPaths)+g.pick(append(pathParts, "", "", "", "")), g.pick(realVersions)
		if g.chance(3) {
			path = g.path()
		}
		if g.chance(3) {
			version = g.version()
		}
		return [2]string{path, version}
	}
	valid := func(in [2]string) bool { return module.Check(in[0], in[1]) == nil }
	for _, in := range balanced(count, next, valid) {
		cases = append(cases, checkCase{in[0], in[1], valid(in)})
	}
	return cases
}

type pseudoPartCase struct {
	In   string  `json:"in"`
	Time *int64  `json:"time"`
	Base *string `json:"base"`
	Rev  *string `json:"rev"`
}

func pseudoPartCases(g *generator, count int) (cases []any) {
	next := func() string {
		for {
			v := module.CanonicalVersion(g.version())
			if module.IsPseudoVersion(v) || v != "" && g.chance(20) {
				return v
			}
		}
	}
	valid := func(in string) bool { return pseudoParts(in).Base != nil }
	for _, in := range balanced(count, next, valid) {
		cases = append(cases, pseudoParts(in))
	}
	return cases
}

func pseudoParts(in string) pseudoPartCase {
	c := pseudoPartCase{In: in}
	if t, err := module.PseudoVersionTime(in); err == nil {
		seconds := t.Unix()
		c.Time = &seconds
	}
	if base, err := module.PseudoVersionBase(in); err == nil {
		c.Base = &base
	}
	if rev, err := module.PseudoVersionRev(in); err == nil {
		c.Rev = &rev
	}
	return c
}

type pseudoBuildCase struct {
	Major int    `json:"major"`
	Older string `json:"older"`
	Time  int64  `json:"time"`
	Rev   string `json:"rev"`
	Built string `json:"built"`
}

func pseudoBuildCases(g *generator, count int) (cases []any) {
	for range count {
		c := pseudoBuildCase{Major: g.IntN(12), Time: g.Int64N(253402300800) - 62135596800*g.Int64N(2), Rev: fmt.Sprintf("%012x", g.Uint64()>>16)}
		if !g.chance(4) {
			c.Older = module.CanonicalVersion(g.version())
		}
		c.Built = module.PseudoVersion(fmt.Sprintf("v%d", c.Major), c.Older, time.Unix(c.Time, 0), c.Rev)
		if len(c.Built) <= 250 {
			cases = append(cases, c)
		}
	}
	return cases
}

type patternCase struct {
	Globs   string `json:"globs"`
	Path    string `json:"path"`
	Matched bool   `json:"matched"`
}

var patternParts = []string{
	"*", "?", "[a-z]", "[^a-z]", "[^/]", "[/]", "[a", "[]", "[^]", "[a-]", "[-a]", "\\", "\\*", "\\a", "/", "/*", "*/", ",", ",*", "*.", "[*]", "[\\]]", "[a-z]*", "[é-日]", "[,]", "é", "[[]", "]", "**",
}

func patternCases(g *generator, count int) (cases []any) {
	next := func() [2]string {
		path := g.pick(realPaths)
		glob := path
		if g.chance(3) {
			glob = g.pick(realPaths)
		}
		// Widen: put wildcards in place of pieces of a real path.
		for range g.IntN(4) {
			from := g.IntN(len(glob) + 1)
			to := from + g.IntN(min(6, len(glob)-from)+1)
			glob = glob[:from] + g.pick(patternParts) + glob[to:]
			if strings.ToValidUTF8(glob, "") != glob {
				glob = strings.ToValidUTF8(glob, "?")
			}
		}
		if g.chance(3) {
			glob = glob[:strings.LastIndex("/"+glob, "/")]
		}
		if g.chance(4) {
			glob = g.mutate(glob, patternParts)
		}
		for g.chance(3) {
			glob += "," + g.mutate(g.pick(realPaths), patternParts)
		}
		return [2]string{glob, path}
	}
	valid := func(in [2]string) bool { return module.MatchPrefixPatterns(in[0], in[1]) }
	for _, in := range balanced(count, next, valid) {
		cases = append(cases, patternCase{in[0], in[1], valid(in)})
	}
	return cases
}

type quoteCase struct {
	In  string `json:"in"`
	Out string `json:"out"`
}

func quoteCases(g *generator, count int) (cases []any) {
	for _, in := range balanced(count, func() string { return g.mutate(g.path(), oddCharacters) }, modfile.MustQuote) {
		cases = append(cases, quoteCase{in, modfile.AutoQuote(in)})
	}
	return cases
}
