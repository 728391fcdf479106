package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// rootPassword is the password of authOn's root.
const rootPassword = "correct horse"

// authOn switches authentication on, and returns root's client.
func authOn(t testing.TB, s *etcdtest.Server) *etcd.Client {
	t.Helper()
	admin := connect(t, etcd.Config{Endpoints: s.Endpoints(), TLS: s.ClientTLS()})
	a := admin.Auth()
	must(t)(a.UserAdd(t.Context(), etcd.UserAddRequest{Name: "root", Password: rootPassword}))
	must(t)(a.UserGrantRole(t.Context(), etcd.UserGrantRoleRequest{User: "root", Role: "root"}))
	must(t)(a.Enable(t.Context()))
	return asUser(t, s, "root", rootPassword)
}

// asUser makes a client for a user.
func asUser(t testing.TB, s *etcdtest.Server, name, password string) *etcd.Client {
	t.Helper()
	return connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: name, Password: password})
}

// must takes a response and an error, and fails the test on the error.
func must(t testing.TB) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// addUser adds a user that may read and write the keys that begin with prefix, with
// a role of the same name.
func addUser(t testing.TB, root *etcd.Client, name, password, prefix string) {
	t.Helper()
	a := root.Auth()
	must(t)(a.UserAdd(t.Context(), etcd.UserAddRequest{Name: name, Password: password, NoPassword: password == ""}))
	must(t)(a.RoleAdd(t.Context(), etcd.RoleAddRequest{Name: name}))
	must(t)(a.RoleGrantPermission(t.Context(), etcd.RoleGrantPermissionRequest{Role: name, Type: etcd.PermissionReadWrite, Key: root.Prefix() + prefix, Prefix: true}))
	must(t)(a.UserGrantRole(t.Context(), etcd.UserGrantRoleRequest{User: name, Role: name}))
}

// endTokens makes the server forget a user's tokens by setting the same password
// again.
func endTokens(t testing.TB, root *etcd.Client, name, password string) {
	t.Helper()
	must(t)(root.Auth().UserChangePassword(t.Context(), etcd.UserChangePasswordRequest{Name: name, Password: password}))
}

// authentications returns how many Authenticate calls a server has received.
func authentications(t testing.TB, s *etcdtest.Server) int {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	const name = `grpc_server_started_total{grpc_method="Authenticate"`
	_, rest, found := strings.Cut(string(text), name)
	if !found {
		t.Fatalf("no metric %s", name)
	}
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAuthUsersAndRoles(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{})
	c := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	a, ctx := c.Auth(), t.Context()
	failsWith := func(sentinel error) func(any, error) {
		return func(_ any, err error) {
			t.Helper()
			wants(t, err, sentinel, etcd.OutcomeRejected)
		}
	}

	failsWith(etcd.ErrRootUserMissing)(a.Enable(ctx))
	must(t)(a.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "secret"}))
	failsWith(etcd.ErrRootUserMissing)(a.Enable(ctx))
	failsWith(etcd.ErrUserExists)(a.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "secret"}))
	must(t)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"}))
	must(t)(a.UserAdd(ctx, etcd.UserAddRequest{Name: "zoë", NoPassword: true}))
	failsWith(etcd.ErrUserNotFound)(a.UserGet(ctx, etcd.UserGetRequest{Name: "nobody"}))
	failsWith(etcd.ErrUserNotFound)(a.UserDelete(ctx, etcd.UserDeleteRequest{Name: "nobody"}))
	failsWith(etcd.ErrUserNotFound)(a.UserChangePassword(ctx, etcd.UserChangePasswordRequest{Name: "nobody", Password: "p"}))
	failsWith(etcd.ErrUserNotFound)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "nobody", Role: "root"}))
	failsWith(etcd.ErrRoleNotFound)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "zoë", Role: "readers"}))
	failsWith(etcd.ErrRoleNotFound)(a.RoleGet(ctx, etcd.RoleGetRequest{Name: "readers"}))
	must(t)(a.RoleAdd(ctx, etcd.RoleAddRequest{Name: "readers"}))
	must(t)(a.RoleAdd(ctx, etcd.RoleAddRequest{Name: "writers"}))
	failsWith(etcd.ErrRoleExists)(a.RoleAdd(ctx, etcd.RoleAddRequest{Name: "readers"}))
	failsWith(etcd.ErrRoleNotGranted)(a.UserRevokeRole(ctx, etcd.UserRevokeRoleRequest{User: "zoë", Role: "readers"}))
	must(t)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "zoë", Role: "writers"}))
	must(t)(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "zoë", Role: "readers"}))

	for _, grant := range []etcd.RoleGrantPermissionRequest{
		{Key: "one"},
		{Key: "dir/", Prefix: true, Type: etcd.PermissionWrite},
		{Key: "e", FromKey: true, Type: etcd.PermissionReadWrite},
		{Key: "a", RangeEnd: "c"},
		{Key: "a", RangeEnd: "c", Type: etcd.PermissionWrite}, // replaces the previous one
		{Prefix: true},
		{Key: "\xff\x00"},
	} {
		grant.Role = "readers"
		must(t)(a.RoleGrantPermission(ctx, grant))
	}
	role, err := a.RoleGet(ctx, etcd.RoleGetRequest{Name: "readers"})
	if err != nil {
		t.Fatal(err)
	}
	want := []etcd.Permission{
		{Key: "\x00", RangeEnd: "\x00"},
		{Key: "a", RangeEnd: "c", Type: etcd.PermissionWrite},
		{Key: "dir/", RangeEnd: "dir0", Type: etcd.PermissionWrite},
		{Key: "e", RangeEnd: "\x00", Type: etcd.PermissionReadWrite},
		{Key: "one"},
		{Key: "\xff\x00"},
	}
	if !reflect.DeepEqual(role.Permissions, want) {
		t.Errorf("permissions %+v\nwant %+v", role.Permissions, want)
	}
	failsWith(etcd.ErrRoleNotFound)(a.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "none", Key: "k"}))
	failsWith(etcd.ErrPermissionNotGranted)(a.RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Role: "readers", Key: "dir/"}))
	failsWith(etcd.ErrRoleNotFound)(a.RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Role: "none", Key: "k"}))
	for _, revoke := range []etcd.RoleRevokePermissionRequest{
		{Key: "one"}, {Key: "dir/", Prefix: true}, {Key: "e", FromKey: true}, {Key: "a", RangeEnd: "c"}, {Prefix: true}, {Key: "\xff\x00"},
	} {
		revoke.Role = "readers"
		must(t)(a.RoleRevokePermission(ctx, revoke))
	}
	if role, err = a.RoleGet(ctx, etcd.RoleGetRequest{Name: "readers"}); err != nil || len(role.Permissions) != 0 {
		t.Errorf("permissions %+v, %v", role, err)
	}

	users, err := a.UserList(ctx)
	if err != nil || fmt.Sprint(users.Users) != "[root zoë]" || users.Header.MemberID == 0 {
		t.Errorf("users %+v, %v", users, err)
	}
	user, err := a.UserGet(ctx, etcd.UserGetRequest{Name: "zoë"})
	if err != nil || fmt.Sprint(user.Roles) != "[readers writers]" {
		t.Errorf("user %+v, %v", user, err)
	}
	must(t)(a.UserRevokeRole(ctx, etcd.UserRevokeRoleRequest{User: "zoë", Role: "readers"}))
	must(t)(a.RoleDelete(ctx, etcd.RoleDeleteRequest{Name: "writers"}))
	failsWith(etcd.ErrRoleNotFound)(a.RoleDelete(ctx, etcd.RoleDeleteRequest{Name: "writers"}))
	if user, err = a.UserGet(ctx, etcd.UserGetRequest{Name: "zoë"}); err != nil || len(user.Roles) != 0 {
		t.Errorf("user %+v, %v", user, err)
	}
	roles, err := a.RoleList(ctx)
	if err != nil || fmt.Sprint(roles.Roles) != "[readers]" && fmt.Sprint(roles.Roles) != "[readers root]" {
		t.Errorf("roles %+v, %v", roles, err)
	}
	must(t)(a.UserDelete(ctx, etcd.UserDeleteRequest{Name: "zoë"}))
	must(t)(a.UserChangePassword(ctx, etcd.UserChangePasswordRequest{Name: "root", Password: rootPassword}))

	before, err := a.Status(ctx)
	if err != nil || before.Enabled || before.AuthRevision == 0 {
		t.Errorf("status %+v, %v", before, err)
	}
	failsWith(etcd.ErrAuthNotEnabled)(a.Authenticate(ctx, etcd.AuthenticateRequest{Username: "root", Password: rootPassword}))
	must(t)(a.Enable(ctx))
	failsWith(etcd.ErrAuthFailed)(a.Authenticate(ctx, etcd.AuthenticateRequest{Username: "root", Password: "wrong"}))
	if r, err := a.Authenticate(ctx, etcd.AuthenticateRequest{Username: "root", Password: rootPassword}); err != nil || r.Token == "" || r.Header.MemberID == 0 {
		t.Errorf("authenticated: %+v, %v", r, err)
	}
	failsWith(etcd.ErrUnauthenticated)(a.UserList(ctx)) // this client has no credentials
	a = asUser(t, s, "root", rootPassword).Auth()
	must(t)(a.Enable(ctx)) // once more
	if status, err := a.Status(ctx); err != nil || !status.Enabled {
		t.Errorf("status %+v, %v", status, err)
	}
	failsWith(etcd.ErrRootRequired)(a.UserDelete(ctx, etcd.UserDeleteRequest{Name: "root"}))
	failsWith(etcd.ErrRootRequired)(a.RoleDelete(ctx, etcd.RoleDeleteRequest{Name: "root"}))
	failsWith(etcd.ErrRootRequired)(a.UserRevokeRole(ctx, etcd.UserRevokeRoleRequest{User: "root", Role: "root"}))
	must(t)(a.Disable(ctx))
	must(t)(c.Auth().UserList(ctx))
}

// Requests that the client itself refuses.
func TestAuthInvalid(t *testing.T) {
	t.Parallel()
	a, ctx := connect(t, etcd.Config{Endpoints: []string{"127.0.0.1:1"}}).Auth(), t.Context()
	refuses := func(text string) func(any, error) {
		return func(_ any, err error) {
			t.Helper()
			refused(t, err, etcd.ErrInvalidRequest, text)
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in %v", err)
			}
		}
	}
	refuses("UserAddRequest.Name is empty")(a.UserAdd(ctx, etcd.UserAddRequest{Password: "secret"}))
	refuses("UserAddRequest.Name is not valid UTF-8")(a.UserAdd(ctx, etcd.UserAddRequest{Name: "\xff", Password: "secret"}))
	refuses("UserAddRequest.Password is empty")(a.UserAdd(ctx, etcd.UserAddRequest{Name: "u"}))
	refuses("UserAddRequest.Password is not valid UTF-8")(a.UserAdd(ctx, etcd.UserAddRequest{Name: "u", Password: "secret\xff"}))
	refuses("UserAddRequest.NoPassword and Password")(a.UserAdd(ctx, etcd.UserAddRequest{Name: "u", Password: "secret", NoPassword: true}))
	refuses("AuthenticateRequest.Username is empty")(a.Authenticate(ctx, etcd.AuthenticateRequest{Password: "secret"}))
	refuses("AuthenticateRequest.Password is empty")(a.Authenticate(ctx, etcd.AuthenticateRequest{Username: "u"}))
	refuses("UserDeleteRequest.Name")(a.UserDelete(ctx, etcd.UserDeleteRequest{}))
	refuses("UserGetRequest.Name")(a.UserGet(ctx, etcd.UserGetRequest{Name: "\xc3"}))
	refuses("UserChangePasswordRequest.Name")(a.UserChangePassword(ctx, etcd.UserChangePasswordRequest{Password: "secret"}))
	refuses("UserChangePasswordRequest.Password")(a.UserChangePassword(ctx, etcd.UserChangePasswordRequest{Name: "u"}))
	refuses("UserGrantRoleRequest.User")(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{Role: "r"}))
	refuses("UserGrantRoleRequest.Role")(a.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "u", Role: "\xff"}))
	refuses("UserRevokeRoleRequest.User")(a.UserRevokeRole(ctx, etcd.UserRevokeRoleRequest{Role: "r"}))
	refuses("UserRevokeRoleRequest.Role")(a.UserRevokeRole(ctx, etcd.UserRevokeRoleRequest{User: "u"}))
	refuses("RoleAddRequest.Name")(a.RoleAdd(ctx, etcd.RoleAddRequest{}))
	refuses("RoleDeleteRequest.Name")(a.RoleDelete(ctx, etcd.RoleDeleteRequest{}))
	refuses("RoleGetRequest.Name")(a.RoleGet(ctx, etcd.RoleGetRequest{}))
	refuses("RoleGrantPermissionRequest.Role")(a.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Key: "k"}))
	refuses("RoleGrantPermissionRequest.Key")(a.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "r"}))
	refuses("RoleGrantPermissionRequest.Type")(a.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "r", Key: "k", Type: 3}))
	refuses("RoleGrantPermissionRequest.RangeEnd")(a.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "r", Key: "k", RangeEnd: "a"}))
	refuses("RoleRevokePermissionRequest.Prefix and FromKey")(a.RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Role: "r", Prefix: true, FromKey: true}))
	refuses("RoleRevokePermissionRequest.Role")(a.RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Key: "k"}))
	var none context.Context
	refuses("context is nil")(a.Enable(none))

	for _, req := range []any{
		etcd.UserAddRequest{Name: "u", Password: "secret"},
		&etcd.UserChangePasswordRequest{Name: "u", Password: "secret"},
		etcd.AuthenticateRequest{Username: "u", Password: "secret"},
		&etcd.AuthenticateResponse{Token: "secret"},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if out := fmt.Sprintf(verb, req); strings.Contains(out, "secret") {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	}
}
