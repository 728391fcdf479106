package client

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
)

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	one := []string{"127.0.0.1:2379"}
	for name, test := range map[string]struct {
		config etcd.Config
		says   string
	}{
		"none":             {etcd.Config{}, "Config.Endpoints is empty"},
		"empty":            {etcd.Config{Endpoints: []string{}}, "Config.Endpoints is empty"},
		"empty string":     {etcd.Config{Endpoints: []string{"127.0.0.1:2379", ""}}, "Config.Endpoints[1]"},
		"spaces":           {etcd.Config{Endpoints: []string{" 127.0.0.1:2379"}}, "spaces"},
		"no port":          {etcd.Config{Endpoints: []string{"localhost"}}, "no port"},
		"no port in a URL": {etcd.Config{Endpoints: []string{"http://localhost"}}, "no port"},
		"no host":          {etcd.Config{Endpoints: []string{":2379"}}, "no host"},
		"port 0":           {etcd.Config{Endpoints: []string{"localhost:0"}}, "1-65535"},
		"port too large":   {etcd.Config{Endpoints: []string{"localhost:65536"}}, "1-65535"},
		"port of letters":  {etcd.Config{Endpoints: []string{"localhost:etcd"}}, "Config.Endpoints[0]"},
		"bad scheme":       {etcd.Config{Endpoints: []string{"grpc://localhost:2379"}}, `"grpc"`},
		"unparsable":       {etcd.Config{Endpoints: []string{"http://[::1:2379"}}, "Config.Endpoints[0]"},
		"control":          {etcd.Config{Endpoints: []string{"local\x00host:2379"}}, "Config.Endpoints[0]"},
		"bare IPv6":        {etcd.Config{Endpoints: []string{"::1:2379"}}, "Config.Endpoints[0]"},
		"path":             {etcd.Config{Endpoints: []string{"http://localhost:2379/v3"}}, "path"},
		"query":            {etcd.Config{Endpoints: []string{"http://localhost:2379?x=1"}}, "query"},
		"user":             {etcd.Config{Endpoints: []string{"http://user:secret@localhost:2379"}}, "user"},
		"unix, no path":    {etcd.Config{Endpoints: []string{"unix://"}}, "no path"},
		"same twice":       {etcd.Config{Endpoints: []string{"127.0.0.1:2379", "127.0.0.1:2379"}}, "Config.Endpoints[1]"},
		"same as a URL":    {etcd.Config{Endpoints: []string{"127.0.0.1:2379", "http://127.0.0.1:2379/"}}, "same as Config.Endpoints[0]"},
		"same unix":        {etcd.Config{Endpoints: []string{"unix:///tmp/s", "unixs:///tmp/s"}}, "same as Config.Endpoints[0]"},
		"plain with TLS":   {etcd.Config{Endpoints: []string{"http://localhost:2379"}, TLS: &tls.Config{}}, "Config.TLS"},
		"RetrySleep":       {etcd.Config{Endpoints: one, RetrySleep: -time.Second}, "Config.RetrySleep"},
		"RetryWrites":      {etcd.Config{Endpoints: one, RetryWrites: 2}, "Config.RetryWrites"},
		"MaxResponseBytes": {etcd.Config{Endpoints: one, MaxResponseBytes: -1}, "Config.MaxResponseBytes"},
		"larger than gRPC": {etcd.Config{Endpoints: one, MaxResponseBytes: 1 << 31}, "Config.MaxResponseBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := etcd.New(test.config)
			if c != nil {
				t.Error("a client came with the error")
			}
			if err == nil {
				t.Fatal("no error")
			}
			refused(t, err, etcd.ErrInvalidConfig, test.says)
			mustSay(t, err, "etcd: New: ")
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
	for name, config := range map[string]etcd.Config{
		"IPv6":                {Endpoints: []string{"[::1]:2379"}},
		"IPv6 zone":           {Endpoints: []string{"[fe80::1%25lo]:2379"}},
		"several":             {Endpoints: []string{"a:1", "http://b:2", "https://c:3", "unix:///d", "unixs:///e"}},
		"negative":            {Endpoints: one, Retry: -1, Timeout: -1},
		"TLS without scheme":  {Endpoints: one, TLS: &tls.Config{}},
		"trailing slash":      {Endpoints: []string{"http://localhost:2379/"}},
		"host that is no one": {Endpoints: []string{"no.such.host.invalid:2379"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := etcd.New(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every request that is refused before it is sent. There are no connections, so
// nothing is sent.
func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	d := newDialer()
	c := connect(t, etcd.Config{DialContext: d.dial})
	get := func(r etcd.GetRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Get(ctx, r); return err }
	}
	ranged := func(r etcd.GetRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Range(ctx, r); return err }
	}
	put := func(r etcd.PutRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Put(ctx, r); return err }
	}
	del := func(r etcd.DeleteRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Delete(ctx, r); return err }
	}
	compact := func(r etcd.CompactRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Compact(ctx, r); return err }
	}
	txn := func(r etcd.TxnRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := c.Txn(ctx, r); return err }
	}
	then := func(op etcd.Op) func(context.Context) error { return txn(etcd.TxnRequest{Then: ops(op)}) }
	when := func(c etcd.Compare) func(context.Context) error { return txn(etcd.TxnRequest{If: []etcd.Compare{c}}) }

	for name, test := range map[string]struct {
		call func(context.Context) error
		says string
	}{
		"get nothing":                {get(etcd.GetRequest{}), "GetRequest.Key"},
		"get until":                  {get(etcd.GetRequest{RangeEnd: "x"}), "GetRequest.Key"},
		"get prefix and from":        {get(etcd.GetRequest{Key: "k", Prefix: true, FromKey: true}), "GetRequest.Prefix and FromKey"},
		"get prefix and end":         {get(etcd.GetRequest{Key: "k", Prefix: true, RangeEnd: "x"}), "GetRequest.Prefix and RangeEnd"},
		"get from and end":           {get(etcd.GetRequest{Key: "k", FromKey: true, RangeEnd: "x"}), "GetRequest.FromKey and RangeEnd"},
		"get limit":                  {get(etcd.GetRequest{Key: "k", Limit: -1}), "GetRequest.Limit is negative"},
		"get revision":               {get(etcd.GetRequest{Key: "k", Revision: -1}), "GetRequest.Revision is negative"},
		"get order":                  {get(etcd.GetRequest{Key: "k", SortOrder: 3}), "GetRequest.SortOrder"},
		"get order below":            {get(etcd.GetRequest{Key: "k", SortOrder: -1}), "GetRequest.SortOrder"},
		"get target":                 {get(etcd.GetRequest{Key: "k", SortTarget: 5}), "GetRequest.SortTarget"},
		"get target below":           {get(etcd.GetRequest{Key: "k", SortTarget: -1}), "GetRequest.SortTarget"},
		"get keys and count":         {get(etcd.GetRequest{Key: "k", KeysOnly: true, CountOnly: true}), "GetRequest.KeysOnly"},
		"get min changed":            {get(etcd.GetRequest{Key: "k", MinModRevision: -1}), "GetRequest.MinModRevision"},
		"get max changed":            {get(etcd.GetRequest{Key: "k", MaxModRevision: -1}), "GetRequest.MaxModRevision"},
		"get min created":            {get(etcd.GetRequest{Key: "k", MinCreateRevision: -1}), "GetRequest.MinCreateRevision"},
		"get max created":            {get(etcd.GetRequest{Key: "k", MaxCreateRevision: -1}), "GetRequest.MaxCreateRevision"},
		"get min above max changed":  {get(etcd.GetRequest{Key: "k", MinModRevision: 3, MaxModRevision: 2}), "GetRequest.MinModRevision"},
		"get min above max created":  {get(etcd.GetRequest{Key: "k", MinCreateRevision: 3, MaxCreateRevision: 2}), "GetRequest.MinCreateRevision"},
		"range nothing":              {ranged(etcd.GetRequest{}), "GetRequest.Key"},
		"range count":                {ranged(etcd.GetRequest{Key: "k", CountOnly: true}), "GetRequest.CountOnly"},
		"range down":                 {ranged(etcd.GetRequest{Key: "k", SortOrder: etcd.Descend}), "GetRequest.SortOrder"},
		"range by value":             {ranged(etcd.GetRequest{Key: "k", SortTarget: etcd.SortByValue}), "SortTarget"},
		"put nothing":                {put(etcd.PutRequest{}), "PutRequest.Key is empty"},
		"put value and ignore":       {put(etcd.PutRequest{Key: "k", Value: []byte("v"), IgnoreValue: true}), "PutRequest.IgnoreValue"},
		"put lease and ignore":       {put(etcd.PutRequest{Key: "k", Lease: 1, IgnoreLease: true}), "PutRequest.IgnoreLease"},
		"delete nothing":             {del(etcd.DeleteRequest{}), "DeleteRequest.Key is empty; set All"},
		"delete a prefix of \"\"":    {del(etcd.DeleteRequest{Prefix: true}), "DeleteRequest.Key is empty, so every key would be deleted; set All if that is meant"},
		"delete from \"\"":           {del(etcd.DeleteRequest{FromKey: true}), "DeleteRequest.Key is empty, so every key"},
		"delete from the first":      {del(etcd.DeleteRequest{Key: "\x00", FromKey: true}), `DeleteRequest.Key "\x00" is the first possible key, so every key`},
		"delete the first to last":   {del(etcd.DeleteRequest{Key: "\x00", RangeEnd: "\x00"}), `DeleteRequest.Key "\x00" is the first`},
		"delete from it in a txn":    {then(etcd.DeleteRequest{Key: "\x00", FromKey: true}), `TxnRequest.Then[0].Key "\x00" is the first`},
		"delete all and one":         {del(etcd.DeleteRequest{Key: "k", All: true}), "DeleteRequest.All deletes every key, but Key is set too"},
		"delete all and a range":     {del(etcd.DeleteRequest{RangeEnd: "k", All: true}), "DeleteRequest.All deletes every key, but RangeEnd is set too"},
		"delete all in two ways":     {del(etcd.DeleteRequest{Prefix: true, FromKey: true, All: true}), "DeleteRequest.Prefix and FromKey"},
		"delete prefix and from":     {del(etcd.DeleteRequest{Key: "k", Prefix: true, FromKey: true}), "DeleteRequest.Prefix and FromKey"},
		"compact nothing":            {compact(etcd.CompactRequest{}), "CompactRequest.Revision"},
		"compact below":              {compact(etcd.CompactRequest{Revision: -1}), "CompactRequest.Revision"},
		"nil op":                     {then(nil), "TxnRequest.Then[0] is nil"},
		"nil put":                    {then((*etcd.PutRequest)(nil)), "TxnRequest.Then[0] is nil"},
		"nil get":                    {then((*etcd.GetRequest)(nil)), "TxnRequest.Then[0] is nil"},
		"nil delete":                 {then((*etcd.DeleteRequest)(nil)), "TxnRequest.Then[0] is nil"},
		"nil txn":                    {then((*etcd.TxnRequest)(nil)), "TxnRequest.Then[0] is nil"},
		"nil op in Else":             {txn(etcd.TxnRequest{Else: ops(etcd.GetRequest{Key: "k"}, nil)}), "TxnRequest.Else[1] is nil"},
		"invalid put":                {then(etcd.PutRequest{}), "TxnRequest.Then[0].Key is empty"},
		"invalid get":                {then(&etcd.GetRequest{Key: "k", Limit: -1}), "TxnRequest.Then[0].Limit"},
		"invalid delete":             {then(etcd.DeleteRequest{}), "TxnRequest.Then[0].Key"},
		"invalid nested":             {then(etcd.TxnRequest{Else: ops(etcd.PutRequest{})}), "TxnRequest.Then[0].Else[0].Key"},
		"nested serializable":        {then(etcd.TxnRequest{Serializable: true}), "TxnRequest.Then[0].Serializable"},
		"serializable put":           {txn(etcd.TxnRequest{Serializable: true, Then: ops(etcd.PutRequest{Key: "k"})}), "TxnRequest.Serializable"},
		"serializable delete":        {txn(etcd.TxnRequest{Serializable: true, Else: ops(etcd.DeleteRequest{Key: "k"})}), "TxnRequest.Serializable"},
		"serializable nested":        {txn(etcd.TxnRequest{Serializable: true, Else: ops(etcd.TxnRequest{})}), "TxnRequest.Serializable"},
		"compare nothing":            {when(etcd.Compare{}), "TxnRequest.If[0].Key"},
		"compare prefix and end":     {when(etcd.Compare{Key: "k", Prefix: true, RangeEnd: "x"}), "TxnRequest.If[0].Prefix and RangeEnd"},
		"compare target":             {when(etcd.Compare{Key: "k", Target: 5}), "TxnRequest.If[0].Target"},
		"compare target below":       {when(etcd.Compare{Key: "k", Target: -1}), "TxnRequest.If[0].Target"},
		"compare result":             {when(etcd.Compare{Key: "k", Result: 4}), "TxnRequest.If[0].Result"},
		"compare result below":       {when(etcd.Compare{Key: "k", Result: -1}), "TxnRequest.If[0].Result"},
		"compare value for version":  {when(etcd.Compare{Key: "k", Value: []byte("v")}), "TxnRequest.If[0].Value"},
		"compare version for value":  {when(etcd.Compare{Key: "k", Target: etcd.TargetValue, Version: 1}), "TxnRequest.If[0].Version"},
		"compare created for change": {when(etcd.Compare{Key: "k", Target: etcd.TargetModRevision, CreateRevision: 1}), "TxnRequest.If[0].CreateRevision"},
		"compare change for created": {when(etcd.Compare{Key: "k", Target: etcd.TargetCreateRevision, ModRevision: 1}), "TxnRequest.If[0].ModRevision"},
		"compare lease for version":  {when(etcd.Compare{Key: "k", Lease: 1}), "TxnRequest.If[0].Lease"},
		"compare two":                {when(etcd.Compare{Key: "k", Version: 1, Value: []byte("v")}), "TxnRequest.If[0].Value"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.call(t.Context())
			refused(t, err, etcd.ErrInvalidRequest, test.says)
			if etcd.MaybeApplied(err) {
				t.Error(err)
			}
		})
	}

	var none context.Context // a nil context, as a caller may pass by mistake
	for name, call := range map[string]func(context.Context) error{
		"Get": get(etcd.GetRequest{Key: "k"}), "Put": put(etcd.PutRequest{Key: "k"}), "Delete": del(etcd.DeleteRequest{Key: "k"}),
		"Compact": compact(etcd.CompactRequest{Revision: 1}), "Txn": txn(etcd.TxnRequest{}), "Range": ranged(etcd.GetRequest{Key: "k"}),
		"Ready": c.Ready,
	} {
		t.Run("nil context of "+name, func(t *testing.T) {
			refused(t, call(none), etcd.ErrInvalidRequest, name+": the context is nil")
		})
	}
	if n := d.dials.Load(); n != 0 {
		t.Errorf("%d connections were made for requests that are not sent", n)
	}
}
