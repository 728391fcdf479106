package lua

import (
	"slices"
	"time"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// member is a name and a value of a table.
type member struct {
	name  string
	value glua.LValue // nil: there is none
}

// record makes a table of its members.
func record(members ...member) *glua.LTable {
	table := newTable(0, len(members))
	for _, m := range members {
		if m.value != nil {
			table.RawSetString(m.name, m.value)
		}
	}
	return table
}

// newTable makes an empty table of the given capacity.
func newTable(list, names int) *glua.LTable {
	return (*glua.LState)(nil).CreateTable(list, names) // it needs no state
}

// list makes a table of the values of items.
func list[T any](items []T, value func(*T) glua.LValue) *glua.LTable {
	table := newTable(len(items), 0)
	for i := range items {
		table.RawSetInt(i+1, value(&items[i]))
	}
	return table
}

func headerTable(h etcd.ResponseHeader) *glua.LTable {
	return record(
		member{"cluster_id", IntegerValue(int64(h.ClusterID))},
		member{"member_id", IntegerValue(int64(h.MemberID))},
		member{"revision", IntegerValue(h.Revision)},
		member{"raft_term", IntegerValue(int64(h.RaftTerm))})
}

func pairTable(kv *etcd.KeyValue) glua.LValue {
	return record(
		member{"key", glua.LString(kv.Key)},
		member{"value", glua.LString(kv.Value)},
		member{"create_revision", IntegerValue(kv.CreateRevision)},
		member{"mod_revision", IntegerValue(kv.ModRevision)},
		member{"version", IntegerValue(kv.Version)},
		member{"lease", IntegerValue(int64(kv.Lease))})
}

// optionalPair is nil for a pair that is not there.
func optionalPair(kv *etcd.KeyValue) glua.LValue {
	if kv == nil {
		return nil
	}
	return pairTable(kv)
}

func putAnswer(r *etcd.PutResponse) *glua.LTable {
	return record(member{"header", headerTable(r.Header)}, member{"prev_kv", optionalPair(r.PrevKV)})
}

func getAnswer(r *etcd.GetResponse) *glua.LTable {
	return record(
		member{"header", headerTable(r.Header)},
		member{"kvs", list(r.KVs, pairTable)},
		member{"more", glua.LBool(r.More)},
		member{"count", IntegerValue(r.Count)})
}

func deleteAnswer(r *etcd.DeleteResponse) *glua.LTable {
	return record(
		member{"header", headerTable(r.Header)},
		member{"deleted", IntegerValue(r.Deleted)},
		member{"prev_kvs", list(r.PrevKVs, pairTable)})
}

func leaseAnswer(h etcd.ResponseHeader, id etcd.LeaseID, ttl time.Duration) *glua.LTable {
	return record(member{"header", headerTable(h)}, member{"ID", IntegerValue(int64(id))}, member{"TTL", secondsValue(ttl)})
}

func ttlAnswer(r *etcd.TTLResponse) *glua.LTable {
	slices.Sort(r.Keys) // etcd has them in no order
	table := leaseAnswer(r.Header, r.ID, r.TTL)
	table.RawSetString("grantedTTL", secondsValue(r.GrantedTTL))
	table.RawSetString("keys", list(r.Keys, func(key *string) glua.LValue { return glua.LString(*key) }))
	return table
}

func leasesAnswer(r *etcd.LeasesResponse) *glua.LTable {
	return record(member{"header", headerTable(r.Header)}, member{"leases", list(r.Leases, func(id *etcd.LeaseID) glua.LValue {
		return record(member{"ID", IntegerValue(int64(*id))})
	})})
}

func watchAnswer(r *etcd.WatchResponse, id int) *glua.LTable {
	return record(
		member{"header", headerTable(r.Header)},
		member{"watch_id", glua.LNumber(id)},
		member{"events", list(r.Events, func(e *etcd.Event) glua.LValue {
			return record(
				member{"type", glua.LString(e.Type.String())},
				member{"kv", pairTable(&e.KV)},
				member{"prev_kv", optionalPair(e.PrevKV)})
		})})
}

func secondsValue(d time.Duration) glua.LValue { return IntegerValue(int64(d / time.Second)) }
