package main

import (
	"regexp"
	"strings"
	"testing"

	"silly.store/etcd/examples/internal/example"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := example.Run(t.Context(), &out, "", run); err != nil {
		t.Fatal(err)
	}
	span := func(name, kind string) string {
		return `(?m)^  ` + name + ` +` + kind + ` +trace ([0-9a-f]{8}), below [0-9a-f]{8}$`
	}
	traces := make(map[string]bool)
	for _, want := range []string{
		span("etcdserverpb.KV/Range", "client"), span("Get", "client"),
		span("etcdserverpb.KV/Put", "client"), span("Put", "client"), span("GET /color", "server"),
		`etcd_client_operation_duration_seconds_count{code="OK",op="()Get"} 1`, `()etcd_client_endpoint_up{endpoint=".*"} 1`,
	} {
		if !strings.Contains(want, "(?m)") {
			want = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(want)
		}
		found := regexp.MustCompile(want).FindStringSubmatch(out.String())
		if found == nil {
			t.Errorf("%s is missing in:\n%s", want, &out)
			continue
		}
		if found[1] != "" {
			traces[found[1]] = true
		}
	}
	if len(traces) != 1 {
		t.Errorf("the request has %d traces, want 1:\n%s", len(traces), &out)
	}
}
