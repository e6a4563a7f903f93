package main

import (
	"bytes"
	"strings"
)

func (w *zipWriter) framing() {
	base := func() archive { return with(file("a.go", "package c\n"), file("x/b", strings.Repeat("b", 50))) }
	vary := func(class string, change func(*archive)) {
		a := base()
		change(&a)
		w.add(class, a)
		a = base()
		a.zip64 = true
		change(&a)
		w.add(class, a)
	}
	vary("valid", func(a *archive) {})
	for _, junk := range []string{"x", "#!/bin/sh\n", "PK\x03\x04", strings.Repeat("\x00", 100)} {
		vary("leading", func(a *archive) { a.prefix = []byte(junk) })
		vary("leading", func(a *archive) { a.prefix, a.shift = []byte(junk), true })
		vary("trailing", func(a *archive) { a.tail = []byte(junk) })
		vary("hidden", func(a *archive) { a.hidden = []byte(junk) })
		vary("hidden", func(a *archive) { a.entries[1].gap = []byte(junk) })
		vary("hidden", func(a *archive) { a.after = []byte(junk) })
		vary("comment", func(a *archive) { a.comment = []byte(junk) })
		vary("comment-length", func(a *archive) {
			a.comment = []byte(junk)
			a.end = func(e *endRecord) { e.commentLen++ }
		})
		vary("comment-length", func(a *archive) {
			a.comment = []byte(junk)
			a.end = func(e *endRecord) { e.commentLen-- }
		})
	}
	inner := with(file("other.go", "package other\n"))
	vary("two-ends", func(a *archive) { a.comment = inner.build() })
	vary("two-ends", func(a *archive) { a.tail = inner.build() })
	vary("two-ends", func(a *archive) { a.prefix = inner.build() })
	vary("two-ends", func(a *archive) { a.comment = []byte("PK\x05\x06" + strings.Repeat("\x00", 18)) })
	vary("two-ends", func(a *archive) { a.comment = []byte("PK\x05\x06" + strings.Repeat("\x00", 10)) })
	vary("nested", func(a *archive) { a.entries[2].content, a.entries[2].method = inner.build(), 0 })
	vary("nested", func(a *archive) {
		a.entries[2].content, a.entries[2].method, a.entries[2].descriptor = inner.build(), 0, 0
	})
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.records++; e.here++; e.records64++ } })
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.records--; e.here--; e.records64-- } })
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.here-- } })
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.records64 += 65536 } })
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.records64 = 1 << 63 } })
	vary("count", func(a *archive) { a.end = func(e *endRecord) { e.records, e.here = 0xffff, 0xffff } })
	vary("volumes", func(a *archive) { a.end = func(e *endRecord) { e.disk = 1 } })
	vary("volumes", func(a *archive) { a.end = func(e *endRecord) { e.dirDisk = 1 } })
	vary("volumes", func(a *archive) { a.entries[1].central = func(h *header) { h.disk = 1 } })
	for _, delta := range []int{-46, -1, 1, 46, 1 << 20} {
		vary("bounds", func(a *archive) {
			a.end = func(e *endRecord) { e.size += uint32(delta); e.size64 += uint64(delta) }
		})
		vary("bounds", func(a *archive) {
			a.end = func(e *endRecord) { e.offset += uint32(delta); e.offset64 += uint64(delta) }
		})
		vary("bounds", func(a *archive) {
			a.end = func(e *endRecord) {
				e.offset += uint32(delta)
				e.offset64 += uint64(delta)
				e.size -= uint32(delta)
				e.size64 -= uint64(delta)
			}
		})
		vary("locator", func(a *archive) { a.end = func(e *endRecord) { e.locator += uint64(delta) } })
		vary("offset", func(a *archive) { a.entries[1].central = func(h *header) { h.offset += uint32(delta) } })
	}
	vary("offset", func(a *archive) { a.entries[1].central = func(h *header) { h.offset = 0 } })
	vary("offset", func(a *archive) { a.entries[0].central = func(h *header) { h.offset = 1 << 31 } })
	vary("plain-and-zip64", func(a *archive) {
		a.end = func(e *endRecord) { e.records, e.here = uint16(e.records64), uint16(e.records64) }
	})
	vary("plain-and-zip64", func(a *archive) { a.end = func(e *endRecord) { e.offset = uint32(e.offset64) } })
	vary("plain-and-zip64", func(a *archive) { a.end = func(e *endRecord) { e.size = uint32(e.size64) } })
	vary("plain-and-zip64", func(a *archive) { a.end = func(e *endRecord) { e.size = 1 } })
	// An entry that only a walk from the start sees.
	sneaky := archive{entries: []entry{file("sneaky.go", "package sneaky\n")}}
	built := sneaky.build()
	vary("hidden-entry", func(a *archive) { a.hidden = built[:bytes.Index(built, []byte("PK\x01\x02"))] })
	vary("hidden-entry", func(a *archive) { a.prefix = built[:bytes.Index(built, []byte("PK\x01\x02"))] })
	// An entry inside of another's data.
	inside := entry{name: prefix + "inside", content: []byte("abc")}
	alone := archive{entries: []entry{inside}}
	built = alone.build()
	outside := entry{name: prefix + "outside", content: built[:bytes.Index(built, []byte("PK\x01\x02"))]}
	inside.central = func(h *header) { h.offset -= uint32(len(outside.content)) }
	w.add("overlap", archive{entries: []entry{outside, inside}})
	for _, junk := range []string{"x", strings.Repeat("\x00", 16)} {
		w.add("gap", archive{entries: []entry{{name: prefix + "a", gap: []byte(junk)}, {name: prefix + "b"}}})
	}
	for _, a := range []archive{base(), with(file("a", "")), {}} {
		whole := a.build()
		for n := 0; n < len(whole); n += 1 + w.rng.IntN(6) {
			w.addBytes("truncated", whole[:n])
		}
	}
	w.addBytes("truncated", []byte("not found: a.b/c@v1.0.0: invalid version"))
	w.addBytes("truncated", bytes.Repeat([]byte("PK\x05\x06"), 30))
}
