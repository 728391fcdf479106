package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sources(t *testing.T) map[string][]byte {
	t.Helper()
	s, err := readSources("../..")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNotStale(t *testing.T) {
	if err := run("../..", true); err != nil {
		t.Fatal(err)
	}
}

func TestStale(t *testing.T) {
	root := t.TempDir()
	for name, content := range sources(t) {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(root, true); err == nil {
		t.Error("passes without generated files")
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Errorf("stale right after generating: %v", err)
	}
	path := filepath.Join(root, genFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, "// edited\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("an edited file passes: %v", err)
	}
}

// Each mistake in the sources is reported by name.
func TestMistakes(t *testing.T) {
	good := sources(t)
	if _, err := generate(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, new string
		want           string
	}{
		{"number of another field", "More bool `etcd:\"3\"`", "More bool `etcd:\"4\"`", "the name differs"},
		{"number twice", "Deleted int64 `etcd:\"2\"`", "Deleted int64 `etcd:\"3\"`", "field 3 occurs twice"},
		{"no such number", "Count int64 `etcd:\"4\"`", "Count int64 `etcd:\"9\"`", "no field 9"},
		{"swapped fields", "CreateRevision int64 `etcd:\"2\"`", "ModRevision_ int64 `etcd:\"2\"`", "the name differs"},
		{"kind", "Succeeded bool `etcd:\"2\"`", "Succeeded int64 `etcd:\"2\"`", "is int64, want bool"},
		{"sign", "ClusterID uint64 `etcd:\"1\"`", "ClusterID int64 `etcd:\"1\"`", "is int64, want uint64"},
		{"message", "KVs []KeyValue `etcd:\"2\"`", "KVs []Event `etcd:\"2\"`", "is mvccpb.Event, want mvccpb.KeyValue"},
		{"not repeated", "KVs []KeyValue `etcd:\"2\"`", "KVs KeyValue `etcd:\"2\"`", "repeated in one but not in the other"},
		{"repeated", "CancelReason    string ", "CancelReason    []string ", "repeated in one but not in the other"},
		{"enum", "SortOrder         SortOrder ", "SortOrder         SortTarget ", "want etcdserverpb.RangeRequest.SortOrder"},
		{"field missing", "	KeysOnly          bool       `etcd:\"8\"`\n", "", "RangeRequest.keys_only (8) is neither carried nor waived"},
		{"tag missing", "More bool `etcd:\"3\"`", "More bool", "want one name and an etcd tag"},
		{"tag without number", "More bool `etcd:\"3\"`", "More bool `etcd:\"x\"`", "no field number"},
		{"tag with an unknown option", "More bool `etcd:\"3\"`", "More bool `etcd:\"3,omitempty\"`", "unknown option"},
		{"a number after another field", "Lease LeaseID `etcd:\"6\"`", "Lease LeaseID `etcd:\"6,after=Key\"`", "only a string may come after"},
		{"no oneof", "`etcd:\"1,name=response_range,oneof=response\"`", "`etcd:\"1,name=response_range\"`", `in oneof "", want "response"`},
		{"another oneof", "name=response_put,oneof=response\"", "name=response_put,oneof=request\"", `in oneof "request", want "response"`},
		{"unknown choice in a oneof", "when=Target:TargetLease", "when=Target:TargetOwner", "when must name an enum field"},
		{"enum value", "Ascend   SortOrder = 1", "Ascend   SortOrder = 2", "Ascend is 2, want 1"},
		{"enum value missing", "//etcd:value NotEqual NOT_EQUAL\n", "", "CompareResult has no etcd:value directive for NotEqual"},
		{"enum value and constant missing", "//etcd:value watchNoDelete NODELETE\ntype watchFilter int32\n\nconst (\n	watchNoPut    watchFilter = 0\n	watchNoDelete watchFilter = 1\n", "type watchFilter int32\n\nconst (\n	watchNoPut watchFilter = 0\n", "watchFilter lacks NODELETE (1)"},
		{"enum value without a constant", "	NotEqual CompareResult = 3\n", "", "etcd:value NotEqual: CompareResult has no such constant"},
		{"enum value unknown", "//etcd:value Descend DESCEND", "//etcd:value Descend SIDEWAYS", "etcd has no etcdserverpb.RangeRequest.SortOrder.SIDEWAYS"},
		{"enum value without a name", "//etcd:value Descend DESCEND", "//etcd:value DESCEND", "want a constant and its name in etcd"},
		{"enum value twice", "//etcd:value Descend DESCEND", "//etcd:value Ascend DESCEND", "etcd:value Ascend occurs twice"},
		{"enum value of two constants", "//etcd:value Descend DESCEND", "//etcd:value Descend ASCEND", "etcd:value ASCEND occurs twice"},
		{"no such enum", "//etcd:enum mvccpb.Event.EventType", "//etcd:enum mvccpb.Event.Kind", "etcd has no enum mvccpb.Event.Kind"},
		{"no such message", "//etcd:message etcdserverpb.PutResponse", "//etcd:message etcdserverpb.StoreResponse", "etcd has no message etcdserverpb.StoreResponse"},
		{"message missing", "//etcd:message etcdserverpb.LeaseLeasesRequest\ntype leaseLeasesRequest struct{}\n", "", "Lease.LeaseLeases needs etcdserverpb.LeaseLeasesRequest"},
		{"message twice", "//etcd:message etcdserverpb.HashRequest\n", "//etcd:message etcdserverpb.StatusRequest\n", "StatusRequest is also the message of"},
		{"message without directive", "//etcd:message etcdserverpb.HashRequest\n", "", "has no etcd:message directive"},
		{"waived message carried", "//etcd:message etcdserverpb.HashRequest\ntype", "//etcd:message etcdserverpb.LeaseCheckpointRequest\ntype x struct { Checkpoints []leaseStatus `etcd:\"1\"` }\n//etcd:message etcdserverpb.HashRequest\ntype", "is waived but carried"},
		{"unknown type", "Version string `etcd:\"2\"`", "Version float64 `etcd:\"2\"`", "unknown type float64"},
	} {
		bad := maps.Clone(good)
		for name, content := range bad {
			bad[name] = bytes.Replace(content, []byte(tt.old), []byte(tt.new), 1)
		}
		if maps.EqualFunc(good, bad, bytes.Equal) {
			t.Errorf("%s: %q is not in the sources", tt.name, tt.old)
			continue
		}
		_, err := generate(bad)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A needless waiver and one for something that does not exist are mistakes too.
func TestWaivers(t *testing.T) {
	s := sources(t)
	waivedFields["etcdserverpb.RangeResponse.more"] = "test"
	waivedFields["etcdserverpb.RangeResponse.less"] = "test"
	waivedMessages["etcdserverpb.Nothing"] = "test"
	defer func() {
		delete(waivedFields, "etcdserverpb.RangeResponse.more")
		delete(waivedFields, "etcdserverpb.RangeResponse.less")
		delete(waivedMessages, "etcdserverpb.Nothing")
	}()
	_, err := generate(s)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"RangeResponse.more is waived but carried",
		"RangeResponse.less is waived, but etcd doesn't have it",
		"etcdserverpb.Nothing is waived, but etcd doesn't have it",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, waived := range []map[string]string{waivedFields, waivedMessages} {
		for name, reason := range waived {
			if reason == "" {
				t.Errorf("%s is waived without a reason", name)
			}
		}
	}
}
