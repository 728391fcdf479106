package guide

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The code of the other guides compiles. Blocks are the inside of a function, or a
// function; names that a guide takes for granted are declared here.
func TestSnippetsCompile(t *testing.T) {
	dir, err := os.MkdirTemp(".", "_snippets") // "./..." leaves it out
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	blocks := 0
	for _, name := range []string{"errors-and-retries", "watches", "leases", "locks", "cache", "coalescing", "cluster", "testing", "discovery", "mirror", "writes-once", "queues", "namespaces", "telemetry"} {
		text, err := os.ReadFile("../../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for i, found := range block.FindAllStringSubmatch(string(text), -1) {
			blocks++
			file := filepath.Join(dir, fmt.Sprintf("%s_%d.go", strings.ReplaceAll(name, "-", "_"), i))
			function := fmt.Sprintf("%s%d", strings.ReplaceAll(name, "-", ""), i)
			if err := os.WriteFile(file, []byte(program(function, found[1])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if blocks < 10 {
		t.Errorf("found %d blocks of Go", blocks)
	}
	if err := os.WriteFile(filepath.Join(dir, "given.go"), []byte(given), 0o600); err != nil {
		t.Fatal(err)
	}
	// The compiler does not allow variables that are not used; guides have some.
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-o", os.DevNull, "./"+dir).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "declared and not used") && !strings.HasPrefix(line, "# ") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
	}
}

// given declares the names that guides take for granted.
const given = `package snippets

import (
	"context"
	"io"
	"testing"

	"silly.store/etcd"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"silly.store/etcd/cache"
	"silly.store/etcd/concurrency"
)

var (
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	hooks          etcd.Hooks
	endpoints      []string
	config        *cache.Cache
	source, target *etcd.Client
	creds          credentials.TransportCredentials
	c             *etcd.Client
	co            *concurrency.Coordinator
	put           *etcd.PutResponse
	ctx           context.Context
	t             *testing.T
	out           io.Writer
	lease         *etcd.Lease
	old           etcd.KeyValue
	state, order  []byte
	hostname      string
	ops           []etcd.Op
	stored        int64
	storedCluster uint64
)

// Level is what a guide decodes.
type Level int

func parse(etcd.KeyValue) (Level, error) { return 0, nil }

func increment([]byte) []byte { return nil }
func send(context.Context, []byte) error { return nil }
func index(context.Context, int) error { return nil }
func work(context.Context) error { return nil }
func use(...any)                 {}
`

// packages are those that guides use.
var packages = map[string]string{
	"context": "context", "log": "log", "rand": "crypto/rand", "fmt": "fmt", "testing": "testing", "time": "time",
	"etcd": "silly.store/etcd", "etcdtest": "silly.store/etcd/etcdtest",
	"discovery": "silly.store/etcd/discovery", "grpcresolver": "silly.store/etcd/discovery/grpcresolver",
	"idempotent": "silly.store/etcd/idempotent", "stm": "silly.store/etcd/stm", "sequence": "silly.store/etcd/sequence",
	"queue": "silly.store/etcd/queue", "group": "silly.store/etcd/group",
	"mirror": "silly.store/etcd/mirror", "grpc": "google.golang.org/grpc",
	"etcdotel": "silly.store/etcd/otel", "propagation": "go.opentelemetry.io/otel/propagation",
	"etcdprom": "silly.store/etcd/prom", "prometheus": "github.com/prometheus/client_golang/prometheus",
	"cache": "silly.store/etcd/cache", "concurrency": "silly.store/etcd/concurrency",
}

var comment = regexp.MustCompile(`(?m)//.*$`)

var topLevel = regexp.MustCompile(`(?m)^func `)

// program is a file with a block of a guide.
func program(function, code string) string {
	var imports strings.Builder
	used := comment.ReplaceAllString(code, "")
	for name, path := range packages {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(used) {
			fmt.Fprintf(&imports, "import %s %q\n", name, path)
		}
	}
	if !topLevel.MatchString(code) {
		result, end := "error", "return nil\n"
		if strings.Contains(code, "t.Fatal(") || strings.Contains(code, "t.Error") {
			result, end = "", ""
		}
		code = fmt.Sprintf("func %s() %s {\n%s\n%s}\n", function, result, code, end)
	}
	return "package snippets\n\n" + imports.String() + code
}
