package main

import "bytes"

// mutations damages valid zips at random, as transports and attackers do.
func (w *zipWriter) mutations() {
	bases := [][]byte{
		w.mutationBase(16, 8, false), w.mutationBase(0, 0, false), w.mutationBase(24, 8, true), w.mutationBase(16, 0, false),
	}
	for _, base := range bases {
		for range 1000 {
			data := bytes.Clone(base)
			data[w.rng.IntN(len(data))] ^= 1 << w.rng.IntN(8)
			w.addBytes("bit-flip", data)
		}
		for range 60 {
			data := bytes.Clone(base)
			at := w.rng.IntN(len(data))
			data = append(data[:at:at], data[min(at+1+w.rng.IntN(8), len(data)):]...)
			w.addBytes("cut", data)
			data = bytes.Clone(base)
			from, to := w.rng.IntN(len(data)), w.rng.IntN(len(data))
			copy(data[to:], base[from:min(from+1+w.rng.IntN(40), len(base))])
			w.addBytes("copy", data)
		}
	}
}

func (w *zipWriter) mutationBase(descriptor int, method uint16, zip64 bool) []byte {
	a := archive{zip64: zip64}
	for _, f := range []memFile{{path: "go.mod", content: "module a.b/c\n"}, {path: "x/a.go", content: "package x // aaaaaaaaaaaaaaa\n"}, {path: "é", content: ""}} {
		a.entries = append(a.entries, entry{
			name: prefix + f.path, content: []byte(f.content), method: method, descriptor: descriptor, zip64: zip64,
		})
	}
	return a.build()
}
