package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// An entry is one file of a zip, with everything about it that can be a lie.
type entry struct {
	name    string
	content []byte
	method  uint16 // 0 or 8; others are stored
	flags   uint16
	madeBy  uint16
	attrs   uint32
	extra   []byte // in the central directory
	comment string

	descriptor int    // bytes of the data descriptor: 0 for none, 12, 16, 20, 24
	tail       []byte // compressed bytes after the end of the stream
	gap        []byte // bytes after the entry
	zip64      bool   // sizes and offset in a zip64 extra field
	localExtra []byte

	// Changes to the headers once everything is known.
	local   func(*header)
	central func(*header)
}

// A header is what local and central header have in common, and the offset.
type header struct {
	name         string
	flags        uint16
	method       uint16
	crc          uint32
	compressed   uint32
	uncompressed uint32
	offset       uint32
	disk         uint16
}

// An archive is what surrounds the entries.
type archive struct {
	entries []entry
	prefix  []byte // before the first entry
	shift   bool   // offsets count from the prefix on
	hidden  []byte // between entries and directory
	after   []byte // between directory and end record
	comment []byte
	tail    []byte // after the end record
	zip64   bool
	reverse bool // directory in reverse order
	end     func(*endRecord)
}

type endRecord struct {
	disk, dirDisk, here, records uint16
	size, offset                 uint32
	commentLen                   uint16
	records64, size64, offset64  uint64
	locator                      uint64
}

func deflated(content []byte) []byte {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	check(err)
	_, err = w.Write(content)
	check(err)
	check(w.Close())
	return buf.Bytes()
}

func le(w *bytes.Buffer, values ...any) {
	for _, v := range values {
		check(binary.Write(w, binary.LittleEndian, v))
	}
}

func (e *entry) write(out *bytes.Buffer, base int) header {
	data := e.content
	if e.method == 8 {
		data = deflated(e.content)
	}
	data = append(bytes.Clone(data), e.tail...)
	truth := header{
		name: e.name, flags: e.flags, method: e.method, crc: crc32.ChecksumIEEE(e.content),
		compressed: uint32(len(data)), uncompressed: uint32(len(e.content)), offset: uint32(out.Len() - base),
	}
	local := truth
	if e.descriptor > 0 {
		truth.flags |= 8
		local.flags |= 8
		local.crc, local.compressed, local.uncompressed = 0, 0, 0
	}
	if e.local != nil {
		e.local(&local)
	}
	le(out, uint32(0x04034b50), uint16(20), local.flags, local.method, uint32(0), local.crc,
		local.compressed, local.uncompressed, uint16(len(local.name)), uint16(len(e.localExtra)))
	out.WriteString(local.name)
	out.Write(e.localExtra)
	out.Write(data)
	if e.descriptor == 16 || e.descriptor == 24 {
		le(out, uint32(0x08074b50))
	}
	switch e.descriptor {
	case 12, 16:
		le(out, truth.crc, truth.compressed, truth.uncompressed)
	case 20, 24:
		le(out, truth.crc, uint64(truth.compressed), uint64(truth.uncompressed))
	}
	out.Write(e.gap)
	return truth
}

func (e *entry) writeCentral(out *bytes.Buffer, h header) {
	if e.central != nil {
		e.central(&h)
	}
	extra := e.extra
	if e.zip64 {
		var wide bytes.Buffer
		le(&wide, uint16(1), uint16(24), uint64(h.uncompressed), uint64(h.compressed), uint64(h.offset))
		extra = append(wide.Bytes(), extra...)
		h.uncompressed, h.compressed, h.offset = 1<<32-1, 1<<32-1, 1<<32-1
	}
	le(out, uint32(0x02014b50), e.madeBy|20, uint16(20), h.flags, h.method, uint32(0), h.crc, h.compressed,
		h.uncompressed, uint16(len(h.name)), uint16(len(extra)), uint16(len(e.comment)), h.disk, uint16(0),
		e.attrs, h.offset)
	out.WriteString(h.name)
	out.Write(extra)
	out.WriteString(e.comment)
}

func (a *archive) build() []byte {
	var out bytes.Buffer
	out.Write(a.prefix)
	base := 0
	if a.shift {
		base = out.Len()
	}
	headers := make([]header, len(a.entries))
	for i := range a.entries {
		headers[i] = a.entries[i].write(&out, base)
	}
	out.Write(a.hidden)
	start := out.Len() - base
	for i := range a.entries {
		if a.reverse {
			i = len(a.entries) - 1 - i
		}
		a.entries[i].writeCentral(&out, headers[i])
	}
	size := out.Len() - base - start
	out.Write(a.after)
	n := len(a.entries)
	end := endRecord{
		here: uint16(n), records: uint16(n), size: uint32(size), offset: uint32(start),
		commentLen: uint16(len(a.comment)), records64: uint64(n), size64: uint64(size),
		offset64: uint64(start), locator: uint64(out.Len()),
	}
	if a.zip64 {
		end.here, end.records, end.size, end.offset = 1<<16-1, 1<<16-1, 1<<32-1, 1<<32-1
	}
	if a.end != nil {
		a.end(&end)
	}
	if a.zip64 {
		le(&out, uint32(0x06064b50), uint64(44), uint32(45|45<<16), uint32(0), uint32(0), end.records64,
			end.records64, end.size64, end.offset64)
		le(&out, uint32(0x07064b50), uint32(0), end.locator, uint32(1))
	}
	le(&out, uint32(0x06054b50), end.disk, end.dirDisk, end.here, end.records, end.size, end.offset,
		end.commentLen)
	out.Write(a.comment)
	out.Write(a.tail)
	return out.Bytes()
}
