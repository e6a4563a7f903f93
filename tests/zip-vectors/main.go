// Generates what core/gomod's tests compare themselves with: the verdicts of the real
// golang.org/x/mod on thousands of small zips and file lists, and Go's Unicode tables.
//
//	go run . tables > ../../core/gomod/src/zip/unicode_tables.rs
//	go run . zips   > ../../core/gomod/tests/vectors/zips.jsonl.gz
//	go run . select > ../../core/gomod/tests/vectors/select.jsonl.gz
package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	switch command {
	case "tables":
		writeTables(os.Stdout)
	case "zips":
		compressed(os.Stdout, writeZips)
	case "select":
		compressed(os.Stdout, writeSelections)
	default:
		fmt.Fprintln(os.Stderr, "usage: go run . tables|zips|select")
		os.Exit(2)
	}
}

func compressed(out io.Writer, write func(*json.Encoder)) {
	w, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	check(err)
	write(json.NewEncoder(w))
	check(w.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
