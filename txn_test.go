package etcd

import (
	"reflect"
	"testing"
)

// etcd takes a transaction through the leader if it writes, if it nests, or if
// any of its ranges is not serializable.
func askedOfLeader(w *txnRequest) bool {
	for _, ops := range [][]requestOp{w.Success, w.Failure} {
		for _, op := range ops {
			if op.Range == nil || !op.Range.Serializable {
				return true
			}
		}
	}
	return false
}

func TestTxnIsLinearizable(t *testing.T) {
	get := GetRequest{Key: "k"}
	local := GetRequest{Key: "k", Serializable: true}
	compares := []Compare{{Key: "a", Prefix: true, Target: TargetVersion}, CompareVersion("b", Equal, 1)}
	for name, test := range map[string]struct {
		req      TxnRequest
		readOnly bool
		added    bool
	}{
		"compares":          {TxnRequest{If: compares}, true, true},
		"get":               {TxnRequest{If: compares, Then: []Op{get}}, true, false},
		"local get":         {TxnRequest{If: compares, Then: []Op{local}}, true, false},
		"local get in Else": {TxnRequest{If: compares, Else: []Op{local, get}}, true, false},
		"local gets":        {TxnRequest{Then: []Op{local, local}, Else: []Op{local}}, true, false},
		"put":               {TxnRequest{If: compares, Then: []Op{PutRequest{Key: "k"}}}, false, false},
		"put in Else":       {TxnRequest{If: compares, Then: []Op{local}, Else: []Op{local, &PutRequest{Key: "k"}}}, false, false},
		"delete":            {TxnRequest{Then: []Op{DeleteRequest{Key: "k"}}}, false, false},
		"nested":            {TxnRequest{Then: []Op{TxnRequest{}}}, false, false},
	} {
		w, err := test.req.wire()
		if err != nil {
			t.Fatal(err)
		}
		if got := w.readOnly(); got != test.readOnly {
			t.Errorf("%s: read only %v", name, got)
		}
		if !test.readOnly {
			continue
		}
		if added := w.makeLinearizable(); added != test.added {
			t.Errorf("%s: added %v", name, added)
		}
		if !askedOfLeader(&w) {
			t.Errorf("%s: etcd answers it from local state", name)
		}
		if test.added {
			want := []requestOp{{Range: &rangeRequest{Key: "a", CountOnly: true}}}
			if w.Success != nil || !reflect.DeepEqual(w.Failure, want) {
				t.Errorf("%s: added %+v and %+v", name, w.Success, w.Failure)
			}
		}
		s, _ := test.req.wire()
		s.makeSerializable()
		if askedOfLeader(&s) {
			t.Errorf("%s: made serializable, it is asked of the leader", name)
		}
	}
	var nothing txnRequest
	if nothing.makeLinearizable() || nothing.Failure != nil {
		t.Error("something was added to a transaction of nothing")
	}
}

// A request is not changed by being sent.
func TestTxnRequestIsKept(t *testing.T) {
	get := &GetRequest{Key: "k", Serializable: true}
	req := TxnRequest{If: []Compare{CompareVersion("k", Equal, 1)}, Then: []Op{get}}
	w, err := req.wire()
	if err != nil {
		t.Fatal(err)
	}
	w.makeLinearizable()
	if !get.Serializable || len(req.Else) != 0 {
		t.Errorf("the request became %+v", req)
	}
}
