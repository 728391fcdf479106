// Command v3.5 is the server program of etcd 3.5. Package etcdtest builds it for
// the servers that it runs as child processes.
package main

import (
	"io"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	if os.Getenv("ETCDTEST_CHILD") != "" {
		// Standard input is a pipe from the parent and ends with it.
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	etcdmain.Main(os.Args)
}
