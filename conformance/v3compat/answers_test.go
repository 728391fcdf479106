package v3compat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// A step is one use of a clientv3.Client.
type step struct {
	name string
	do   func(ctx context.Context, c *clientv3.Client) (any, error)
}

// answersAlike runs the same steps with client/v3 and with ours, each on its own
// server, and compares every answer and every error.
func answersAlike(t *testing.T, steps []step) {
	t.Helper()
	theirs, err := clientv3.New(clientv3.Config{Endpoints: etcdtest.Start(t).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	ours, err := v3compat.New(clientv3.Config{Endpoints: etcdtest.Start(t).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	for _, s := range steps {
		ctx := within(t, 20*time.Second)
		want, wantErr := s.do(ctx, theirs)
		got, gotErr := s.do(ctx, ours)
		if gotErr == nil && status.Code(wantErr) == codes.Unimplemented {
			continue // a server that has no such method, which ours does without
		}
		if !sameError(gotErr, wantErr) {
			t.Errorf("%s: the error is %v (%T), and client/v3's %v (%T)", s.name, gotErr, gotErr, wantErr, wantErr)
			continue
		}
		if wantErr != nil {
			continue
		}
		if got, want := plain(got), plain(want); got != want {
			t.Errorf("%s:\nours:        %s\nclient/v3's: %s", s.name, got, want)
		}
	}
}

// sameError reports whether two errors are equal, or have the same code and text.
func sameError(got, want error) bool {
	if got == nil || want == nil || got == want {
		return got == want
	}
	var known rpctypes.EtcdError
	if errors.As(want, &known) {
		return false
	}
	g, ok := status.FromError(got)
	w, also := status.FromError(want)
	return ok == also && g.Code() == w.Code()
}

// plain returns a message as text, without the fields that differ between two
// servers.
func plain(answer any) string {
	m, ok := answer.(proto.Message)
	if !ok {
		return fmt.Sprintf("%+v", answer)
	}
	m = proto.Clone(m)
	forget(m.ProtoReflect())
	return prototext.Format(m)
}

// forget clears IDs and terms of servers, at any depth.
func forget(m protoreflect.Message) {
	if h, ok := m.Interface().(*pb.ResponseHeader); ok {
		h.ClusterId, h.MemberId, h.RaftTerm = min(h.ClusterId, 1), min(h.MemberId, 1), min(h.RaftTerm, 1)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		case !f.IsMap() && f.Message() != nil:
			forget(v.Message())
		}
		return true
	})
}

func get(key string, opts ...clientv3.OpOption) step {
	return step{"Get " + key, func(ctx context.Context, c *clientv3.Client) (any, error) {
		resp, err := c.Get(ctx, key, opts...)
		return (*pb.RangeResponse)(resp), err
	}}
}

func put(key, value string, opts ...clientv3.OpOption) step {
	return step{"Put " + key, func(ctx context.Context, c *clientv3.Client) (any, error) {
		resp, err := c.Put(ctx, key, value, opts...)
		return (*pb.PutResponse)(resp), err
	}}
}

func del(key string, opts ...clientv3.OpOption) step {
	return step{"Delete " + key, func(ctx context.Context, c *clientv3.Client) (any, error) {
		resp, err := c.Delete(ctx, key, opts...)
		return (*pb.DeleteRangeResponse)(resp), err
	}}
}

func txn(name string, fill func(clientv3.Txn) clientv3.Txn) step {
	return step{"Txn " + name, func(ctx context.Context, c *clientv3.Client) (any, error) {
		resp, err := fill(c.Txn(ctx)).Commit()
		return (*pb.TxnResponse)(resp), err
	}}
}

func compact(revision int64, opts ...clientv3.CompactOption) step {
	return step{"Compact", func(ctx context.Context, c *clientv3.Client) (any, error) {
		resp, err := c.Compact(ctx, revision, opts...)
		return (*pb.CompactionResponse)(resp), err
	}}
}

func (s step) called(name string) step {
	s.name += ", " + name
	return s
}

func TestKVAnswersAlike(t *testing.T) {
	t.Parallel()
	const lease = clientv3.LeaseID(4711)
	long := strings.Repeat("x", 2<<20)
	var steps []step
	for i := range 20 {
		steps = append(steps, put(fmt.Sprintf("k%02d", i), fmt.Sprint(100-i)))
	}
	steps = append(steps,
		put("k05", "again", clientv3.WithPrevKV()),
		put("k05", "", clientv3.WithIgnoreValue()),
		put("k05", "x", clientv3.WithIgnoreValue()).called("with a value to ignore"),
		put("nokey", "", clientv3.WithIgnoreValue()).called("that is not there"),
		put("k05", "", clientv3.WithIgnoreLease()),
		put("k05", "", clientv3.WithLease(lease)).called("on a lease that is not there"),
		put("k05", "", clientv3.WithLease(lease), clientv3.WithIgnoreLease()).called("with a lease to ignore"),
		put("", "v"),
		put("long", long),
		put("empty", ""),
		put("bin\x00\xff", "\x00\xff\xfe"),

		get("k05"), get("none"), get(""), get("empty"), get("bin\x00\xff"),
		get("", clientv3.WithPrefix()), get("", clientv3.WithFromKey()), get("k1", clientv3.WithPrefix()),
		get("k1", clientv3.WithFromKey()),
		get("k05", clientv3.WithRange("k08")),
		get("k05", clientv3.WithRange("k05")).called("an empty range"),
		get("k05", clientv3.WithRange("a"), clientv3.WithRev(3)).called("an empty range at a revision"),
		get("k05", clientv3.WithRange("a"), clientv3.WithMinModRev(9), clientv3.WithMaxModRev(7)).called("an empty range with a filter that passes none"),
		get("k", clientv3.WithPrefix(), clientv3.WithLimit(3)),
		get("k", clientv3.WithPrefix(), clientv3.WithLimit(-1)).called("with a negative limit"),
		get("k", clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		get("k", clientv3.WithPrefix(), clientv3.WithCountOnly()),
		get("k", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithKeysOnly()),
		get("k", clientv3.WithPrefix(), clientv3.WithSerializable()),
		get("k", clientv3.WithPrefix(), clientv3.WithRev(5)),
		get("k", clientv3.WithPrefix(), clientv3.WithRev(5000)).called("of the future"),
		get("k", clientv3.WithPrefix(), clientv3.WithRev(-1)).called("at a negative revision"),
		get("k", clientv3.WithPrefix(), clientv3.WithMinModRev(7), clientv3.WithMaxModRev(9)),
		get("k", clientv3.WithPrefix(), clientv3.WithMinModRev(9), clientv3.WithMaxModRev(7)).called("with a filter that passes none"),
		get("k", clientv3.WithPrefix(), clientv3.WithMinCreateRev(9), clientv3.WithMaxCreateRev(7), clientv3.WithLimit(2)).called("with a filter that passes none"),
		get("k", clientv3.WithPrefix(), clientv3.WithMinCreateRev(7), clientv3.WithMaxCreateRev(9)),
		get("k", clientv3.WithFirstCreate()...), get("k", clientv3.WithLastRev()...),
		get("k", clientv3.WithLastKey()...), get("k", clientv3.WithFirstKey()...),
		get("k", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortTarget(9), clientv3.SortOrder(7))).called("sorted somehow"),
	)
	for _, target := range []clientv3.SortTarget{clientv3.SortByKey, clientv3.SortByVersion, clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue} {
		for _, order := range []clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend, clientv3.SortDescend} {
			steps = append(steps, get("k", clientv3.WithPrefix(), clientv3.WithSort(target, order), clientv3.WithLimit(7)))
		}
	}
	nested := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value("k07"), ">", "0")},
		[]clientv3.Op{clientv3.OpGet("k07"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("deep", "1")}, nil)},
		[]clientv3.Op{clientv3.OpGet("k08")},
	)
	steps = append(steps,
		txn("of all kinds", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k05"), ">", 1), clientv3.Compare(clientv3.CreateRevision("none"), "=", 0),
				clientv3.Compare(clientv3.ModRevision("k05"), "!=", 1), clientv3.Compare(clientv3.Value("k06"), "<", "z"),
				clientv3.Compare(clientv3.LeaseValue("k06"), "=", 0),
			).Then(clientv3.OpPut("t", "1"), clientv3.OpGet("t"), clientv3.OpPut("t2", "2", clientv3.WithPrevKV()),
				clientv3.OpDelete("k00", clientv3.WithPrevKV()), clientv3.OpGet("k", clientv3.WithPrefix(), clientv3.WithCountOnly()), nested)
		}),
		txn("whose condition fails", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k"), ">", 9).WithPrefix()).Then(clientv3.OpPut("t", "no")).
				Else(clientv3.OpGet("k01"), clientv3.OpDelete("none"))
		}),
		txn("whose condition fails, without more", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k01"), "=", 0))
		}),
		txn("that is empty", func(t clientv3.Txn) clientv3.Txn { return t }),
		txn("that reads", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpGet("k01", clientv3.WithSerializable()), clientv3.OpGet("k02", clientv3.WithRev(4)))
		}),
		txn("that reads local state", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k01"), "=", 0)).Then(clientv3.OpGet("k02", clientv3.WithSerializable())).
				Else(clientv3.OpGet("k01", clientv3.WithSerializable()), clientv3.OpGet("k02", clientv3.WithSerializable(), clientv3.WithRev(4)))
		}),
		txn("with one inside that reads local state", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet("k02", clientv3.WithSerializable())}, nil))
		}),
		txn("of empty intervals", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpGet("k05", clientv3.WithRange("a")), clientv3.OpDelete("k05", clientv3.WithRange("k05")), clientv3.OpPut("t3", "3"))
		}),
		txn("that compares empty intervals", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k05"), "=", 0).WithRange("a"), clientv3.Compare(clientv3.CreateRevision("k05"), "<", 1).WithRange("k05")).
				Then(clientv3.OpGet("k06")).Else(clientv3.OpGet("k07"))
		}),
		txn("that compares values of an empty interval", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Value("k05"), "=", "").WithRange("a")).Then(clientv3.OpPut("t3", "no")).Else(clientv3.OpGet("k07"))
		}),
		txn("that only compares an empty interval", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Version("k05"), ">", 0).WithRange("a"))
		}),
		txn("that puts twice", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpPut("t", "1"), clientv3.OpPut("t", "2"))
		}),
		txn("of too many", func(t clientv3.Txn) clientv3.Txn {
			many := make([]clientv3.Op, 200)
			for i := range many {
				many[i] = clientv3.OpPut(fmt.Sprint("many", i), "")
			}
			return t.Then(many...)
		}),
		txn("without a key", func(t clientv3.Txn) clientv3.Txn { return t.Then(clientv3.OpPut("", "")) }),
		step{"Do", func(ctx context.Context, c *clientv3.Client) (any, error) {
			resp, err := c.Do(ctx, clientv3.OpPut("done", "1", clientv3.WithPrevKV()))
			return (*pb.PutResponse)(resp.Put()), err
		}},
		step{"GetStream", func(ctx context.Context, c *clientv3.Client) (any, error) {
			stream, err := c.GetStream(ctx, "k", clientv3.WithPrefix(), clientv3.WithLimit(5))
			if err != nil {
				return nil, err
			}
			resp, err := clientv3.GetStreamToGetResponse(stream)
			return (*pb.RangeResponse)(resp), err
		}},
		del("k05"), del("none"), del("k01", clientv3.WithPrevKV()), del(""),
		del("k1", clientv3.WithPrefix(), clientv3.WithPrevKV()),
		del("k02", clientv3.WithRange("k02")).called("an empty range"), del("k02", clientv3.WithRange("a")).called("a range that ends before it begins"),
		txn("of empty ranges", func(t clientv3.Txn) clientv3.Txn {
			return t.If(
				clientv3.Compare(clientv3.Version("k02").WithRange("a"), "=", 0),
				clientv3.Compare(clientv3.CreateRevision("k02").WithRange("k02"), "=", 0),
			).Then(
				clientv3.OpGet("k02", clientv3.WithRange("a")), clientv3.OpDelete("k02", clientv3.WithRange("k02"), clientv3.WithPrevKV()),
			)
		}),
		txn("of an empty range's value", func(t clientv3.Txn) clientv3.Txn {
			return t.If(clientv3.Compare(clientv3.Value("k02").WithRange("a"), "!=", "x")).Else(clientv3.OpGet("k02", clientv3.WithRange("k02")))
		}),
		del("k02", clientv3.WithFromKey()),
		put("all", "1"), del("", clientv3.WithPrefix()).called("of every key"),
		put("all", "2"), del("", clientv3.WithFromKey(), clientv3.WithPrevKV()).called("of every key"),
		put("all", "3"), txn("that deletes every key", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpDelete("", clientv3.WithPrefix()))
		}),
		put("all", "4"), del("\x00", clientv3.WithFromKey()).called("from the first key"),
		put("all", "5"), txn("that deletes from the first key", func(t clientv3.Txn) clientv3.Txn {
			return t.Then(clientv3.OpDelete("\x00", clientv3.WithFromKey(), clientv3.WithPrevKV()))
		}),
		put("\x00", "6"), put("all", "7"), del("\x00"), del("\x00", clientv3.WithRange("\x01")),
		compact(20), compact(20), compact(10), compact(5000), compact(22, clientv3.WithCompactPhysical()),
		get("k", clientv3.WithPrefix(), clientv3.WithRev(3)).called("that was compacted"),
	)
	answersAlike(t, steps)
}

func TestAuthAnswersAlike(t *testing.T) {
	t.Parallel()
	type client = *clientv3.Client
	do := func(name string, do func(ctx context.Context, c client) (proto.Message, error)) step {
		return step{name, func(ctx context.Context, c *clientv3.Client) (any, error) { return do(ctx, c) }}
	}
	userAdd := func(name, password string) step {
		return do("UserAdd "+name, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserAdd(ctx, name, password)
			return (*pb.AuthUserAddResponse)(r), err
		})
	}
	grantRole := func(user, role string) step {
		return do("UserGrantRole "+user+" "+role, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserGrantRole(ctx, user, role)
			return (*pb.AuthUserGrantRoleResponse)(r), err
		})
	}
	roleAdd := func(name string) step {
		return do("RoleAdd "+name, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleAdd(ctx, name)
			return (*pb.AuthRoleAddResponse)(r), err
		})
	}
	permit := func(role, key, end string, kind authpb.Permission_Type) step {
		return do("RoleGrantPermission "+role+" "+key, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleGrantPermission(ctx, role, key, end, clientv3.PermissionType(kind))
			return (*pb.AuthRoleGrantPermissionResponse)(r), err
		})
	}
	forbid := func(role, key, end string) step {
		return do("RoleRevokePermission "+role+" "+key, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleRevokePermission(ctx, role, key, end)
			return (*pb.AuthRoleRevokePermissionResponse)(r), err
		})
	}
	authenticate := func(user, password string) step {
		return do("Authenticate "+user, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.Authenticate(ctx, user, password)
			if r != nil {
				r.Token = "a token"
			}
			return (*pb.AuthenticateResponse)(r), err
		})
	}
	userGet := func(name string) step {
		return do("UserGet "+name, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserGet(ctx, name)
			return (*pb.AuthUserGetResponse)(r), err
		})
	}
	roleGet := func(name string) step {
		return do("RoleGet "+name, func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleGet(ctx, name)
			return (*pb.AuthRoleGetResponse)(r), err
		})
	}
	status := do("AuthStatus", func(ctx context.Context, c client) (proto.Message, error) {
		r, err := c.AuthStatus(ctx)
		return (*pb.AuthStatusResponse)(r), err
	})
	enable := do("AuthEnable", func(ctx context.Context, c client) (proto.Message, error) {
		r, err := c.AuthEnable(ctx)
		return (*pb.AuthEnableResponse)(r), err
	})
	answersAlike(t, []step{
		status, authenticate("root", "secret"), enable,
		userAdd("root", "secret"), userAdd("root", "secret"), userAdd("", "secret"), userAdd("bob", "pw"), userAdd("open", ""),
		do("UserAddWithOptions", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserAddWithOptions(ctx, "certified", "", &clientv3.UserAddOptions{NoPassword: true})
			return (*pb.AuthUserAddResponse)(r), err
		}),
		roleAdd("root"), roleAdd("readers"), roleAdd("readers"), roleAdd(""),
		grantRole("root", "root"), grantRole("nobody", "root"), grantRole("bob", "none"), grantRole("bob", "readers"), grantRole("", "readers"), grantRole("bob", ""),
		permit("readers", "a", "c", clientv3.PermRead), permit("readers", "d/", "d0", clientv3.PermReadWrite), permit("readers", "k", "", clientv3.PermWrite),
		permit("readers", "\x00", "\x00", clientv3.PermRead), permit("none", "a", "", clientv3.PermRead),
		permit("readers", "c", "a", clientv3.PermRead), permit("readers", "", "", clientv3.PermRead),
		forbid("readers", "a", "c"), forbid("readers", "a", "c"), forbid("none", "a", "c"), forbid("readers", "", ""),
		userGet("bob"), userGet("none"), userGet(""), roleGet("readers"), roleGet("none"), roleGet(""),
		do("UserList", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserList(ctx)
			return (*pb.AuthUserListResponse)(r), err
		}),
		do("RoleList", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleList(ctx)
			return (*pb.AuthRoleListResponse)(r), err
		}),
		do("UserChangePassword", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserChangePassword(ctx, "bob", "other")
			return (*pb.AuthUserChangePasswordResponse)(r), err
		}),
		do("UserChangePassword to none", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserChangePassword(ctx, "certified", "")
			return (*pb.AuthUserChangePasswordResponse)(r), err
		}),
		do("UserChangePassword of nobody", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserChangePassword(ctx, "", "")
			return (*pb.AuthUserChangePasswordResponse)(r), err
		}),
		do("UserRevokeRole", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserRevokeRole(ctx, "bob", "readers")
			return (*pb.AuthUserRevokeRoleResponse)(r), err
		}),
		do("RoleDelete", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.RoleDelete(ctx, "readers")
			return (*pb.AuthRoleDeleteResponse)(r), err
		}),
		do("UserDelete", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.UserDelete(ctx, "certified")
			return (*pb.AuthUserDeleteResponse)(r), err
		}),
		status, enable, authenticate("bob", "other"), authenticate("bob", "wrong"), authenticate("", ""), authenticate("open", ""), authenticate("open", "x"),
		put("k", "v").called("without a name"), get("k").called("without a name"),
		do("AuthDisable", func(ctx context.Context, c client) (proto.Message, error) {
			r, err := c.AuthDisable(ctx)
			return (*pb.AuthDisableResponse)(r), err
		}),
	})
}
