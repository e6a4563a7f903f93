// Gomod-vectors writes down what golang.org/x/mod says about generated inputs.
//
// The answers are the expectations of core/gomod's tests. The same seed and count give the same inputs.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// A topic is one kind of question: its file holds one JSON object a line, the input and the answers.
type topic struct {
	name  string
	cases func(g *generator, count int) []any
}

var topics = []topic{
	{"paths", pathCases},
	{"escaped_paths", escapedPathCases},
	{"versions", versionCases},
	{"escaped_versions", escapedVersionCases},
	{"orders", orderCases},
	{"checks", checkCases},
	{"pseudo_parts", pseudoPartCases},
	{"pseudo_builds", pseudoBuildCases},
	{"patterns", patternCases},
	{"quotes", quoteCases},
	{"modfiles", modfileCases},
	{"infos", infoCases},
}

func main() {
	seed := flag.Uint64("seed", 1, "seed of the generator")
	count := flag.Int("count", 2000, "cases per topic")
	dir := flag.String("dir", "", "folder to write TOPIC.jsonl.gz into")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	for i, topic := range topics {
		// A generator for each topic, so that a change to one leaves the inputs of the others alone.
		cases := topic.cases(newGenerator(*seed, uint64(i)), *count)
		if err := write(filepath.Join(*dir, topic.name+".jsonl.gz"), cases); err != nil {
			fmt.Fprintln(os.Stderr, "gomod-vectors:", err)
			os.Exit(1)
		}
		fmt.Printf("%s: %d cases\n", topic.name, len(cases))
	}
}

func write(name string, cases []any) error {
	var packed bytes.Buffer
	zipper, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(zipper)
	encoder.SetEscapeHTML(false)
	for _, c := range cases {
		if err := encoder.Encode(c); err != nil {
			return err
		}
	}
	if err := zipper.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, packed.Bytes(), 0o666)
}
