package main

import "os"

func main() {
	writeTables(os.Stdout)
}
