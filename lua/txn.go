package lua

import (
	"fmt"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// txn makes a transaction:
//
//	client:txn {
//		compare = {{key = "a", version = 0}, {key = "b", result = ">", mod_revision = 5}},
//		success = {{put = {key = "a", value = "1"}}},
//		failure = {{get = {key = "a"}}},
//	}
func (c *client) txn(L *glua.LState) int {
	return request(c, L, "txn", txnRequest, c.etcd.Txn, txnAnswer)
}

// maxTxnDepth bounds transactions inside of transactions, which a table that contains itself
// has without end.
const maxTxnDepth = 32

func txnRequest(table *glua.LTable) (etcd.TxnRequest, error) { return nestedTxn(table, maxTxnDepth) }

func nestedTxn(table *glua.LTable, depth int) (req etcd.TxnRequest, err error) {
	f := readFields("txn", table, txnFields)
	if depth == 0 {
		f.fail("transactions nest deeper than %d", maxTxnDepth)
		return req, f.err
	}
	req.Serializable = f.boolean("serializable")
	for i, value := range f.list("compare") {
		if inner := f.inner("compare", i, value); inner != nil {
			req.If = append(req.If, readCompare(inner))
			f.take(inner)
		}
	}
	req.Then = f.operations("success", depth)
	req.Else = f.operations("failure", depth)
	return req, f.err
}

// inner is the table at index i of a list, whose errors name that place.
func (f *fields) inner(name string, i int, value glua.LValue) *fields {
	place := fmt.Sprintf("%s[%d]", name, i+1)
	table, ok := value.(*glua.LTable)
	if !ok {
		f.fail("%s must be a table, not a %s", place, value.Type())
		return nil
	}
	return &fields{op: f.op + ": " + place, table: table}
}

// take makes the error of a part that of the whole.
func (f *fields) take(part *fields) {
	if f.err == nil {
		f.err = part.err
	}
}

// readCompare reads a condition. What of the key is compared is named by target, or by the
// field that holds the other side.
func readCompare(f *fields) (cmp etcd.Compare) {
	known := readFields(f.op, f.table, compareFields)
	f.take(known)
	cmp.Key, cmp.Prefix, cmp.FromKey, cmp.RangeEnd = f.keys()
	if cmp.Key == "" && !cmp.Prefix && !cmp.FromKey {
		f.fail("key is empty")
	}
	cmp.Target = f.target()
	cmp.Result = f.result()
	cmp.Version, cmp.CreateRevision, cmp.ModRevision = f.integer("version"), f.integer("create_revision"), f.integer("mod_revision")
	cmp.Value, cmp.Lease = []byte(f.str("value")), etcd.LeaseID(f.integer("lease"))
	return cmp
}

var (
	targetFields = []string{"version", "create_revision", "mod_revision", "value", "lease"}
	targetNames  = []string{"VERSION", "CREATE", "MOD", "VALUE", "LEASE"}
)

func (f *fields) target() etcd.CompareTarget {
	target, given := -1, 0
	for i, name := range targetFields {
		if f.has(name) {
			target, given = i, given+1
		}
	}
	switch {
	case given > 1:
		f.fail("one of version, create_revision, mod_revision, value and lease is compared, not %d of them", given)
	case f.has("target"):
		named := f.enum("target", targetNames...)
		if given == 1 && named != target {
			f.fail("target is %s, and the field is %s", targetNames[named], targetFields[target])
		}
		target = named
	case given == 0:
		f.fail("what is compared is missing: version, create_revision, mod_revision, value or lease")
	}
	return etcd.CompareTarget(max(target, 0))
}

func (f *fields) result() etcd.CompareResult {
	const names = 4 // each in words and as a sign
	i := f.enum("result", "EQUAL", "GREATER", "LESS", "NOT_EQUAL", "=", ">", "<", "!=")
	return etcd.CompareResult(i % names)
}

func (f *fields) operations(name string, depth int) (ops []etcd.Op) {
	for i, value := range f.list(name) {
		inner := f.inner(name, i, value)
		if inner == nil {
			continue
		}
		if op := readOperation(inner, depth); op != nil {
			ops = append(ops, op)
		}
		f.take(inner)
	}
	return ops
}

// readOperation reads {put = {…}}, {get = {…}}, {delete = {…}} or {txn = {…}}.
func readOperation(f *fields, depth int) etcd.Op {
	var op etcd.Op
	var err error
	key, value := f.table.Next(glua.LNil)
	table, ok := value.(*glua.LTable)
	if more, _ := f.table.Next(key); !ok || more != glua.LNil {
		f.fail("an operation is {put = {…}}, {get = {…}}, {delete = {…}} or {txn = {…}}")
		return nil
	}
	switch key {
	case glua.LString("put"):
		op, err = putRequest(table)
	case glua.LString("get"):
		op, err = getRequest(table)
	case glua.LString("delete"):
		op, err = deleteRequest(table)
	case glua.LString("txn"):
		op, err = nestedTxn(table, depth-1)
	default:
		f.fail("unknown operation %s; there are put, get, delete and txn", quoted(key.String()))
	}
	if err != nil {
		f.fail("%s", err)
	}
	return op
}

func txnAnswer(r *etcd.TxnResponse) *glua.LTable {
	return record(
		member{"header", headerTable(r.Header)},
		member{"succeeded", glua.LBool(r.Succeeded)},
		member{"responses", list(r.Responses, func(part *etcd.OpResponse) glua.LValue {
			switch {
			case part.Put != nil:
				return record(member{"put", putAnswer(part.Put)})
			case part.Get != nil:
				return record(member{"get", getAnswer(part.Get)})
			case part.Delete != nil:
				return record(member{"delete", deleteAnswer(part.Delete)})
			case part.Txn != nil:
				return record(member{"txn", txnAnswer(part.Txn)})
			}
			return newTable(0, 0)
		})})
}
