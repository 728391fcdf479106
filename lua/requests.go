package lua

import (
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// The fields of each request, as the manual names them, and a few more.
var (
	putFields     = names("key value lease prev_kv ignore_value ignore_lease")
	getFields     = names("key prefix fromkey range_end limit revision sort_order sort_target serializable keys_only count_only min_mod_revision max_mod_revision min_create_revision max_create_revision")
	deleteFields  = names("key prefix fromkey range_end all prev_kv")
	compactFields = names("revision physical")
	grantFields   = names("TTL ID no_keepalive")
	idFields      = names("ID")
	ttlFields     = names("ID keys")
	watchFields   = names("key prefix fromkey range_end revision progress_notify prev_kv filters NOPUT NODELETE fragment")
	txnFields     = names("compare success failure serializable")
	compareFields = names("key prefix fromkey range_end target result version create_revision mod_revision value lease")
	writeFields   = names("progress_request")
	configFields  = names("endpoints retry retry_sleep timeout dial_timeout user password ca cert key server_name dsn coalesce")
)

// names splits the names of fields at blanks.
func names(list string) []string { return strings.Fields(list) }

func putRequest(table *glua.LTable) (etcd.PutRequest, error) {
	f := readFields("put", table, putFields)
	f.require("key")
	req := etcd.PutRequest{
		Key:         f.str("key"),
		Lease:       etcd.LeaseID(f.integer("lease")),
		PrevKV:      f.boolean("prev_kv"),
		IgnoreValue: f.boolean("ignore_value"),
		IgnoreLease: f.boolean("ignore_lease"),
	}
	if !req.IgnoreValue {
		f.require("value")
	}
	req.Value = []byte(f.str("value"))
	return req, f.err
}

func getRequest(table *glua.LTable) (etcd.GetRequest, error) {
	f := readFields("get", table, getFields)
	req := etcd.GetRequest{
		Limit:             f.integer("limit"),
		Revision:          f.integer("revision"),
		SortOrder:         etcd.SortOrder(f.enum("sort_order", "NONE", "ASCEND", "DESCEND")),
		SortTarget:        etcd.SortTarget(f.enum("sort_target", "KEY", "VERSION", "CREATE", "MOD", "VALUE")),
		Serializable:      f.boolean("serializable"),
		KeysOnly:          f.boolean("keys_only"),
		CountOnly:         f.boolean("count_only"),
		MinModRevision:    f.integer("min_mod_revision"),
		MaxModRevision:    f.integer("max_mod_revision"),
		MinCreateRevision: f.integer("min_create_revision"),
		MaxCreateRevision: f.integer("max_create_revision"),
	}
	req.Key, req.Prefix, req.FromKey, req.RangeEnd = f.keys()
	return req, f.err
}

func deleteRequest(table *glua.LTable) (etcd.DeleteRequest, error) {
	f := readFields("delete", table, deleteFields)
	req := etcd.DeleteRequest{PrevKV: f.boolean("prev_kv"), All: f.boolean("all")}
	if !req.All {
		f.require("key")
	}
	req.Key, req.Prefix, req.FromKey, req.RangeEnd = f.keys()
	if req.Key == "" && (req.Prefix || req.FromKey) && !req.All {
		f.fail("key is empty; set all = true to delete every key")
	}
	return req, f.err
}

// keys reads the key or the range of keys of a request.
func (f *fields) keys() (key string, prefix, fromKey bool, rangeEnd string) {
	key, prefix, fromKey, rangeEnd = f.str("key"), f.boolean("prefix"), f.boolean("fromkey"), f.str("range_end")
	if !prefix && !fromKey && f.op != "delete" {
		f.require("key")
	}
	if prefix && fromKey || (prefix || fromKey) && rangeEnd != "" {
		f.fail("prefix, fromkey and range_end exclude each other")
	}
	return key, prefix, fromKey, rangeEnd
}

func compactRequest(table *glua.LTable) (etcd.CompactRequest, error) {
	f := readFields("compact", table, compactFields)
	f.require("revision")
	return etcd.CompactRequest{Revision: f.integer("revision"), Physical: f.boolean("physical")}, f.err
}

func grantRequest(table *glua.LTable) (etcd.GrantRequest, error) {
	f := readFields("grant", table, grantFields)
	f.require("TTL")
	return etcd.GrantRequest{
		TTL:         f.seconds("TTL"),
		ID:          etcd.LeaseID(f.integer("ID")),
		NoKeepAlive: f.boolean("no_keepalive"),
	}, f.err
}

// seconds reads a number of whole seconds.
func (f *fields) seconds(name string) time.Duration {
	const most = 9_000_000_000 // etcd's limit for a lease; above, a Duration would overflow
	n := f.integer(name)
	if f.err == nil && (n < 1 || n > most) {
		f.fail("%s must be from 1 to %d seconds, not %d", name, int64(most), n)
		return 0
	}
	return time.Duration(n) * time.Second
}

// leaseID reads the ID of a request that has no other required field.
func (f *fields) leaseID() etcd.LeaseID {
	f.require("ID")
	return etcd.LeaseID(f.integer("ID"))
}

func watchRequest(table *glua.LTable) (etcd.WatchRequest, error) {
	f := readFields("watch", table, watchFields)
	req := etcd.WatchRequest{
		Revision:       f.integer("revision"),
		ProgressNotify: f.boolean("progress_notify"),
		PrevKV:         f.boolean("prev_kv"),
		NoPut:          f.boolean("NOPUT"),
		NoDelete:       f.boolean("NODELETE"),
		Fragment:       f.boolean("fragment"),
	}
	req.Key, req.Prefix, req.FromKey, req.RangeEnd = f.keys()
	for _, filter := range f.list("filters") {
		switch filter {
		case glua.LString("NOPUT"), glua.LNumber(0):
			req.NoPut = true
		case glua.LString("NODELETE"), glua.LNumber(1):
			req.NoDelete = true
		default:
			f.fail("filters holds %s; there are NOPUT and NODELETE", quoted(filter.String()))
		}
	}
	return req, f.err
}
