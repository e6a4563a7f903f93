package main

import (
	"bytes"
	"encoding/binary"
	"strings"
)

func (w *zipWriter) contents() {
	text := strings.Repeat("some text ", 10)
	for _, method := range []uint16{0, 8} {
		for _, descriptor := range []int{0, 12, 16, 20, 24} {
			vary := func(class string, change func(*entry)) {
				e := file("a.go", text)
				e.method, e.descriptor = method, descriptor
				change(&e)
				w.add(class, with(e, file("z.go", "package z\n")))
			}
			vary("valid", func(e *entry) {})
			vary("valid", func(e *entry) { e.content = nil })
			for _, delta := range []uint32{1, ^uint32(0), 100, 1 << 30} {
				vary("size", func(e *entry) { e.central = func(h *header) { h.uncompressed += delta } })
				vary("compressed-size", func(e *entry) { e.central = func(h *header) { h.compressed += delta } })
				vary("local-size", func(e *entry) { e.local = func(h *header) { h.uncompressed += delta } })
				vary("local-compressed-size", func(e *entry) { e.local = func(h *header) { h.compressed += delta } })
				vary("both-sizes", func(e *entry) {
					e.central = func(h *header) { h.uncompressed += delta; h.compressed += delta }
				})
			}
			vary("crc", func(e *entry) { e.central = func(h *header) { h.crc++ } })
			vary("crc-zero", func(e *entry) { e.central = func(h *header) { h.crc = 0 } })
			vary("crc-zero", func(e *entry) {
				e.central = func(h *header) { h.crc = 0 }
				e.local = func(h *header) { h.crc = 0 }
			})
			vary("local-crc", func(e *entry) { e.local = func(h *header) { h.crc = 1 } })
			vary("local-name", func(e *entry) { e.local = func(h *header) { h.name = prefix + "b.go" } })
			vary("local-name", func(e *entry) { e.local = func(h *header) { h.name = "../../evil" } })
			vary("local-method", func(e *entry) { e.local = func(h *header) { h.method = 8 - h.method } })
			vary("local-flags", func(e *entry) { e.local = func(h *header) { h.flags ^= 8 } })
			vary("local-flags", func(e *entry) { e.local = func(h *header) { h.flags ^= 1 } })
			vary("method", func(e *entry) { e.central = func(h *header) { h.method = 8 - h.method } })
			vary("method", func(e *entry) { e.central = func(h *header) { h.method = 12 } })
			vary("method", func(e *entry) {
				e.method = 99
			})
			for _, bit := range []uint16{0, 1, 2, 3, 4, 5, 6, 11, 13, 15} {
				vary("flags", func(e *entry) { e.flags = 1 << bit })
			}
			vary("tail", func(e *entry) { e.tail = []byte("after the stream") })
			vary("tail", func(e *entry) { e.tail = []byte{0} })
			vary("mode", func(e *entry) { e.madeBy, e.attrs, e.content = 3<<8, 0o120777<<16, []byte("../../etc") })
			for _, kind := range []uint32{0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o140000, 0o160000} {
				vary("mode", func(e *entry) { e.madeBy, e.attrs = 3<<8, (kind|0o644)<<16 })
			}
			vary("mode", func(e *entry) { e.madeBy, e.attrs = 19<<8, 0o120777<<16 })
			vary("mode-other-system", func(e *entry) { e.madeBy, e.attrs = 11<<8, 0o120777<<16 })
			vary("mode-other-system", func(e *entry) { e.attrs = 0x10 })
		}
	}
	zeros := make([]byte, 16<<20+1)
	for _, name := range []string{"go.mod", "LICENSE", "x/LICENSE", "big"} {
		e := file(name, "")
		e.content = zeros
		w.add("large", archive{entries: []entry{e}})
		e.content = zeros[:16<<20]
		w.add("large", archive{entries: []entry{e}})
	}
	for _, size := range []uint32{500<<20 - 13, 500<<20 - 12, 500 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1} {
		e := file("big", "x")
		e.central = func(h *header) { h.uncompressed = size }
		w.add("total", with(e))
		w.add("total", with(e, file("b", "")))
	}
	w.add("total", with(declared("a", 250<<20), declared("b", 250<<20), declared("c", 1)))
	w.extras()
}

func declared(name string, size uint32) entry {
	e := file(name, "x")
	e.central = func(h *header) { h.uncompressed = size }
	return e
}

// extras are zip64 fields that say too little, too much or something else.
func (w *zipWriter) extras() {
	wide := func(values ...uint64) []byte {
		var b bytes.Buffer
		le(&b, uint16(1), uint16(8*len(values)))
		for _, v := range values {
			check(binary.Write(&b, binary.LittleEndian, v))
		}
		return b.Bytes()
	}
	all := func(h *header) { h.uncompressed, h.compressed = 1<<32-1, 1<<32-1 }
	add := func(extra []byte, central func(*header)) {
		e := entry{name: prefix + "a", content: []byte("abc"), extra: extra, central: central}
		w.add("extra", with(e))
	}
	add(wide(3, 3), all)
	add(wide(3, 3, 0), all)
	add(wide(3), all)
	add(wide(), all)
	add(nil, all)
	add(wide(3, 1<<40), all)
	add(wide(1<<40, 3), all)
	add(wide(1<<63, 3), all)
	add(wide(3, 3)[:7], all)
	add(append(wide(3, 3), wide(4, 4)...), all)
	add(append(wide(3), wide(3)...), all)
	add(append([]byte("UT\x01\x00x"), wide(3, 3)...), all)
	add(append([]byte("UT\xff\x00x"), wide(3, 3)...), all)
	add(wide(3), func(h *header) { h.uncompressed = 1<<32 - 1 })
	add(wide(3), func(h *header) { h.compressed = 1<<32 - 1 })
	add(wide(7, 7), func(h *header) {})
	add([]byte("x"), func(h *header) {})
	add([]byte("xyz\xff\xff"), func(h *header) {})
	for _, local := range [][]byte{wide(3, 3), wide(3), wide(4, 4), nil} {
		e := entry{name: prefix + "a", content: []byte("abc"), localExtra: local}
		e.local = func(h *header) { h.uncompressed, h.compressed = 1<<32-1, 1<<32-1 }
		w.add("local-extra", with(e))
	}
}
