package lua

import (
	"context"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"

	"silly.store/etcd"
)

// client is a client of the script's. The interpreter lock guards it.
type client struct {
	r       *runtime
	etcd    *etcd.Client
	leases  map[etcd.LeaseID]*etcd.Lease // those that this client has granted or adopted
	tidyAt  int                          // how many leases there may be before those that have ended are forgotten
	watches int                          // counts the watches that were made, for watch_id
}

// etcdModule is silly.store.etcd.
func (r *runtime) etcdModule(L *glua.LState) *glua.LTable {
	r.clients = newClass(L, "etcd client", map[string]func(*client, *glua.LState) int{
		"put": (*client).put, "get": (*client).get, "delete": (*client).delete, "compact": (*client).compact, "txn": (*client).txn,
		"grant": (*client).grant, "revoke": (*client).revoke, "ttl": (*client).ttl, "leases": (*client).listLeases,
		"keepalive": (*client).keepAlive, "keepalive_once": (*client).keepAliveOnce, "lease": (*client).lease,
		"watch": (*client).watch, "lock": (*client).acquire, "unlock": (*client).unlock, "close": (*client).close,
	})
	r.registerStreams(L)
	return L.SetFuncs(L.NewTable(), map[string]glua.LGFunction{"newclient": r.newClient})
}

// newClient raises an error when the configuration is wrong, as the manual says. It connects
// to nothing.
func (r *runtime) newClient(L *glua.LState) int {
	config, err := r.clientConfig(L.CheckTable(1))
	if err != nil {
		L.RaiseError("%s", err)
	}
	made, err := etcd.New(config)
	if err != nil {
		L.RaiseError("newclient: %s", fieldsInLua(strings.TrimPrefix(err.Error(), "etcd: New: ")))
	}
	c := &client{r: r, etcd: made, leases: map[etcd.LeaseID]*etcd.Lease{}}
	r.open[made] = struct{}{}
	return give(L, r.clients.object(c))
}

func (r *runtime) clientConfig(table *glua.LTable) (config etcd.Config, err error) {
	f := readFields("newclient", table, configFields)
	if dsn := f.str("dsn"); dsn != "" && f.err == nil {
		if config, err = etcd.ParseDSN(dsn); err != nil {
			text := strings.TrimPrefix(err.Error(), "etcd: ParseDSN: DSN")
			return config, &requestError{"newclient", "dsn" + fieldsInLua(text)}
		}
	}
	if endpoints := f.strings("endpoints"); len(endpoints) > 0 {
		config.Endpoints = endpoints
	} else if len(config.Endpoints) == 0 && config.DiscoverySRV == "" {
		f.fail(`endpoints is required: a list like {"127.0.0.1:2379"}`)
	}
	f.retries(&config)
	f.duration("timeout", time.Second, &config.Timeout)
	f.duration("dial_timeout", time.Second, &config.DialTimeout)
	f.text("user", &config.Username)
	f.text("password", &config.Password)
	f.text("ca", &config.TLSFiles.CA)
	f.text("cert", &config.TLSFiles.Cert)
	f.text("key", &config.TLSFiles.Key)
	f.text("server_name", &config.TLSFiles.ServerName)
	if f.has("coalesce") {
		config.Coalesce = etcd.Coalesce(f.enum("coalesce", "reads", "all", "off"))
	}
	r.override(&config)
	return config, f.err
}

// override puts what was asked for outside of the script in place of what the script says.
func (r *runtime) override(config *etcd.Config) {
	if len(r.script.Endpoints) > 0 {
		config.Endpoints, config.DiscoverySRV, config.DiscoverySRVName = r.script.Endpoints, "", ""
	}
	config.Logger = r.log
	if r.script.Configure != nil {
		r.script.Configure(config)
	}
}

// retries reads the number of retries, of which the manual's 0 is none, and their pause.
func (f *fields) retries(config *etcd.Config) {
	if f.has("retry") {
		switch n := f.integer("retry"); {
		case n == 0:
			config.Retry = -1
		case n < 0 || n > 1<<30:
			f.fail("retry must be a number of retries, not %d", n)
		default:
			config.Retry = int(n)
		}
	}
	f.duration("retry_sleep", time.Millisecond, &config.RetrySleep)
}

// duration reads a time in the given unit into d, if it is there.
func (f *fields) duration(name string, unit time.Duration, d *time.Duration) {
	if !f.has(name) {
		return
	}
	n := f.number(name)
	const most = 1e9 // a Duration holds 9.2e9 seconds
	switch {
	case f.err != nil:
	case !(n >= 0 && n <= most): // also NaN
		f.fail("%s must be from 0 to %g, not %v", name, most, n)
	case n == 0 && name == "retry_sleep":
		*d = time.Millisecond // the shortest that there is; 0 means the default
	case n*float64(unit) < float64(time.Millisecond):
		f.fail("%s must be at least %g, not %v", name, float64(time.Millisecond)/float64(unit), n)
	default:
		*d = time.Duration(n * float64(unit))
	}
}

// text reads a string into s, if it is there.
func (f *fields) text(name string, s *string) {
	if f.has(name) {
		*s = f.str(name)
	}
}

// call makes a call of the client with the interpreter lock released.
func call[T any](c *client, L *glua.LState, f func(context.Context) (T, error)) (answer T, err error) {
	c.r.wait(L, taskCalling, func(ctx context.Context) { answer, err = f(ctx) })
	return answer, err
}

// request reads the request of a method, makes the call, and returns its answer to Lua.
func request[Request, Response any](c *client, L *glua.LState, op string,
	read func(*glua.LTable) (Request, error),
	send func(context.Context, Request) (*Response, error),
	answer func(*Response) *glua.LTable,
) int {
	req, err := read(checkRequest(L))
	if err != nil {
		return failure(L, op, err)
	}
	resp, err := call(c, L, func(ctx context.Context) (*Response, error) { return send(ctx, req) })
	if err != nil {
		return failure(L, op, err)
	}
	return give(L, answer(resp))
}

// checkRequest is the table that a method was given.
func checkRequest(L *glua.LState) *glua.LTable {
	table, ok := L.Get(2).(*glua.LTable)
	if !ok {
		L.RaiseError("a table like {key = …} expected, got %s", typeName(L, 2))
	}
	return table
}

func (c *client) put(L *glua.LState) int {
	return request(c, L, "put", putRequest, c.etcd.Put, putAnswer)
}

func (c *client) get(L *glua.LState) int {
	return request(c, L, "get", getRequest, c.etcd.Get, getAnswer)
}

func (c *client) delete(L *glua.LState) int {
	return request(c, L, "delete", deleteRequest, c.etcd.Delete, deleteAnswer)
}

func (c *client) compact(L *glua.LState) int {
	return request(c, L, "compact", compactRequest, c.etcd.Compact, func(r *etcd.CompactResponse) *glua.LTable {
		return record(member{"header", headerTable(r.Header)})
	})
}

// close ends the client, its streams and the renewals of its leases. Calls that wait fail.
func (c *client) close(L *glua.LState) int {
	delete(c.r.open, c.etcd)
	c.r.wait(L, taskCalling, func(context.Context) { _ = c.etcd.Close() }) // its error is always nil
	return give(L, glua.LTrue)
}
