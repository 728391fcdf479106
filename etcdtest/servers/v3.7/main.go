// Command v3.7 is etcd 3.7's own server program. Package etcdtest builds it for
// the servers that it runs as child processes.
package main

import (
	"io"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	if os.Getenv("ETCDTEST_CHILD") != "" {
		// Standard input is a pipe from the parent: its end is the parent's.
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	etcdmain.Main(os.Args)
}
