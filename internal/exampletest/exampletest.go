// Package exampletest excludes the examples of a package's documentation from its tests when
// they have no etcd. conformance/examples provides one. Only tests import it.
package exampletest

import (
	"flag"
	"os"
	"strings"
)

// Variable names an etcd for an example, by its endpoints.
const Variable = "ETCD_EXAMPLE_ENDPOINTS"

// Endpoints returns those of the etcd for the example; none when examples are not to run.
func Endpoints() []string { return strings.Fields(os.Getenv(Variable)) }

// LeaveOut adds the examples to what -skip names.
func LeaveOut() {
	flag.Parse()
	skip := "^Example"
	if given := flag.Lookup("test.skip").Value.String(); given != "" {
		skip = given + "|" + skip
	}
	if err := flag.Set("test.skip", skip); err != nil {
		panic(err)
	}
}
