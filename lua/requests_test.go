package lua

import (
	"reflect"
	"strings"
	"testing"
	"time"

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

// A number stands for its text, and a text for its number, in a configuration too.
func TestConfig(t *testing.T) {
	r := newRuntime(t.Context(), Script{})
	defer r.close()
	config, err := r.clientConfig(evaluate(t, `{endpoints = {"a:1", 2}, timeout = "1.5", dial_timeout = "2", retry = "3", retry_sleep = "0x10", user = 1, password = 2}`))
	want := etcd.Config{
		Endpoints: []string{"a:1", "2"}, Timeout: 1500 * time.Millisecond, DialTimeout: 2 * time.Second,
		Retry: 3, RetrySleep: 16 * time.Millisecond, Username: "1", Password: "2", Logger: r.log,
	}
	if err != nil || !reflect.DeepEqual(config, want) {
		t.Errorf("%+v, %v; want %+v", config, err, want)
	}
	for table, text := range map[string]string{
		`{endpoints = {"a:1", true}}`:                      "newclient: endpoints[2] must be a string, not a boolean",
		`{endpoints = "a:1"}`:                              "newclient: endpoints must be a list, not a string",
		`{endpoints = {"a:1"}, timeout = "soon"}`:          `newclient: timeout must be a number, not the string "soon"`,
		`{endpoints = {"a:1"}, timeout = {}}`:              "newclient: timeout must be a number, not a table",
		`{endpoints = {"a:1"}, timeout = 0}`:               "newclient: timeout must be at least 0.001, not 0",
		`{endpoints = {"a:1"}, retry = 0.5}`:               "newclient: retry must be an integer, not 0.5",
		`{endpoints = {"a:1"}, user = false}`:              "newclient: user must be a string, not a boolean",
		`{dsn = true, endpoints = {"a:1"}}`:                "newclient: dsn must be a string, not a boolean",
		`{endpoints = {"a:1"}, retry_sleep = 0 / 0}`:       "newclient: retry_sleep must be from 0 to 1e+09, not NaN",
		`{endpoints = {"a:1"}, dial_timeout = "1e-4"}`:     "newclient: dial_timeout must be at least 0.001, not 0.0001",
		`{endpoints = {"a:1", [3] = "b:1"}, timeouts = 3}`: `newclient: unknown field "timeouts", did you mean timeout?`,
		`{endpoints = {"a:1", [3] = "b:1"}}`:               "newclient: endpoints[2] must be a string, not a nil",
		`{endpoints = {"a:1"}, coalesce = true}`:           `newclient: coalesce must be one of reads, all, off, not "true"`,
	} {
		if _, err := r.clientConfig(evaluate(t, table)); err == nil || err.Error() != text {
			t.Errorf("%s: error %v, want %q", table, err, text)
		}
	}
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
		{"put", `{key = "k", value = true}`, nil, "put: value must be a string, not a boolean"},
		{"put", `{key = "k", value = "v", prev_kv = 1}`, nil, "put: prev_kv must be true or false, not a number"},
		{"put", `{key = "k", value = "v", lease = " 0x10 "}`, etcd.PutRequest{Key: "k", Value: []byte("v"), Lease: 16}, ""},
		{"put", `{key = "k", value = "", ignore_value = true}`, etcd.PutRequest{Key: "k", Value: []byte{}, IgnoreValue: true}, ""},
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
