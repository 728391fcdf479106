package lua

import (
	"reflect"
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// evaluate is the table that a Lua expression makes.
func evaluate(t *testing.T, expression string) *glua.LTable {
	t.Helper()
	L := glua.NewState()
	defer L.Close()
	if err := L.DoString("loop = {} loop[1] = {txn = {success = loop}} return " + expression); err != nil {
		t.Fatal(err)
	}
	return L.CheckTable(-1)
}

func TestRequests(t *testing.T) {
	reads := map[string]func(*glua.LTable) (any, error){
		"put":     func(v *glua.LTable) (any, error) { r, err := putRequest(v); return r, err },
		"get":     func(v *glua.LTable) (any, error) { r, err := getRequest(v); return r, err },
		"delete":  func(v *glua.LTable) (any, error) { r, err := deleteRequest(v); return r, err },
		"compact": func(v *glua.LTable) (any, error) { r, err := compactRequest(v); return r, err },
		"grant":   func(v *glua.LTable) (any, error) { r, err := grantRequest(v); return r, err },
		"watch":   func(v *glua.LTable) (any, error) { r, err := watchRequest(v); return r, err },
		"txn":     func(v *glua.LTable) (any, error) { r, err := txnRequest(v); return r, err },
	}
	for _, tt := range []struct {
		op, table string
		want      any    // the request
		err       string // or a part of the error
	}{
		{"put", `{key = 1, value = 2.5, lease = "12"}`, etcd.PutRequest{Key: "1", Value: []byte("2.5"), Lease: 12}, ""},
		{"put", `{key = "k", ignore_value = true, prev_kv = false}`, etcd.PutRequest{Key: "k", Value: []byte{}, IgnoreValue: true}, ""},
		{"put", `{key = "k"}`, nil, "put: value is required"},
		{"put", `{key = "k", value = "v", leases = 1}`, nil, `put: unknown field "leases", did you mean lease?`},
		{"put", `{key = "k", value = "v", zzz = 1, aaa = 1}`, nil, `put: unknown field "aaa"; there are key, value`},
		{"put", `{key = "k", value = "v", lease = 2^63}`, nil, "put: lease must be an integer of 64 bits"},
		{"put", `{key = "k", value = {}}`, nil, "put: value must be a string, not a table"},
		{"get", `{key = "a", prefix = true, limit = 3, sort_order = "descend", sort_target = "MOD", min_mod_revision = 7}`, etcd.GetRequest{
			Key: "a", Prefix: true, Limit: 3, SortOrder: etcd.Descend, SortTarget: etcd.SortByModRevision, MinModRevision: 7,
		}, ""},
		{"get", `{fromkey = true}`, etcd.GetRequest{FromKey: true}, ""},
		{"get", `{}`, nil, "get: key is required"},
		{"get", `{key = "a", prefix = true, range_end = "b"}`, nil, "get: prefix, fromkey and range_end exclude each other"},
		{"get", `{key = "a", sort_target = 1}`, nil, `get: sort_target must be one of KEY, VERSION, CREATE, MOD, VALUE, not "1"`},
		{"delete", `{all = true, prefix = true}`, etcd.DeleteRequest{All: true, Prefix: true}, ""},
		{"delete", `{key = "", prefix = true}`, nil, "delete: key is empty; set all = true"},
		{"delete", `{prefix = true}`, nil, "delete: key is required"},
		{"compact", `{}`, nil, "compact: revision is required"},
		{"grant", `{TTL = 60.5}`, nil, "grant: TTL must be an integer, not 60.5"},
		{"grant", `{TTL = 1e10}`, nil, "grant: TTL must be from 1 to 9000000000 seconds"},
		{"watch", `{key = "a", filters = {"NOPUT", 1}}`, etcd.WatchRequest{Key: "a", NoPut: true, NoDelete: true}, ""},
		{"watch", `{key = "a", filters = {x = "NOPUT"}}`, nil, `watch: filters must be a list, and has the field "x"`},
		{"watch", `{key = "a", filters = {2}}`, nil, `watch: filters holds "2"`},
		{"txn", `{compare = {{key = "a", version = 0}, {key = "b", target = "VALUE", value = "x", result = "!="}}, success = {{get = {key = "a"}}}}`,
			etcd.TxnRequest{
				If:   []etcd.Compare{{Key: "a", Value: []byte{}}, {Key: "b", Target: etcd.TargetValue, Result: etcd.NotEqual, Value: []byte("x")}},
				Then: []etcd.Op{etcd.GetRequest{Key: "a"}},
			}, ""},
		{"txn", `{compare = {{key = "a"}}}`, nil, "txn: compare[1]: what is compared is missing"},
		{"txn", `{compare = {{key = "a", target = "MOD", version = 1}}}`, nil, "txn: compare[1]: target is MOD, and the field is version"},
		{"txn", `{success = {{put = {key = "a"}}}}`, nil, "txn: success[1]: put: value is required"},
		{"txn", `{success = {{}}}`, nil, "txn: success[1]: an operation is"},
		{"txn", `{success = loop}`, nil, "transactions nest deeper than 32"},
	} {
		got, err := reads[tt.op](evaluate(t, tt.table))
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s %s: error %v, want %q", tt.op, tt.table, err, tt.err)
			}
		case err != nil || !reflect.DeepEqual(got, tt.want):
			t.Errorf("%s %s: %+v, %v; want %+v", tt.op, tt.table, got, err, tt.want)
		}
	}
}
