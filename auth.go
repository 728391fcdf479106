package etcd

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
)

// Auth manages the users and roles of the cluster. Get it with [Client.Auth].
// Its methods may be called concurrently.
//
// A user has roles, and a role has permissions for keys and ranges of keys. The
// user "root" with the role "root" may do everything. Once [Auth.Enable] has switched
// authentication on, only root may change users and roles, and the client needs
// Config.Username and Password, or a TLS certificate with the user's name as its common
// name.
type Auth struct {
	c *Client
}

// Auth returns the part of the client that manages users and roles.
func (c *Client) Auth() Auth { return Auth{c} }

// AuthenticateRequest is the user that [Auth.Authenticate] checks. It prints without the
// password.
type AuthenticateRequest struct {
	// Username and Password are both required. They must be valid UTF-8.
	Username string
	Password string `json:"-"`
}

// UserAddRequest is the user that [Auth.UserAdd] adds. It prints without the
// password.
type UserAddRequest struct {
	// Name is required. It must be valid UTF-8.
	Name string
	// Password is required unless NoPassword is set. It must be valid UTF-8. The
	// server keeps only a hash of it.
	Password string `json:"-"`
	// NoPassword makes a user that authenticates by a TLS client certificate only.
	NoPassword bool
}

// UserDeleteRequest is the user that [Auth.UserDelete] deletes.
type UserDeleteRequest struct {
	// Name is required.
	Name string
}

// UserGetRequest is the user that [Auth.UserGet] asks for.
type UserGetRequest struct {
	// Name is required.
	Name string
}

// UserChangePasswordRequest is what [Auth.UserChangePassword] changes. It prints
// without the password.
type UserChangePasswordRequest struct {
	// Name is required.
	Name string
	// Password is the new one. Required; it must be valid UTF-8.
	Password string `json:"-"`
}

// UserGrantRoleRequest is the role that [Auth.UserGrantRole] gives to a user.
type UserGrantRoleRequest struct {
	// User and Role are their names. Both are required.
	User, Role string
}

// UserRevokeRoleRequest is the role that [Auth.UserRevokeRole] takes from a user.
type UserRevokeRoleRequest struct {
	// User and Role are their names. Both are required.
	User, Role string
}

// RoleAddRequest is the role that [Auth.RoleAdd] adds.
type RoleAddRequest struct {
	// Name is required. It must be valid UTF-8.
	Name string
}

// RoleDeleteRequest is the role that [Auth.RoleDelete] deletes.
type RoleDeleteRequest struct {
	// Name is required.
	Name string
}

// RoleGetRequest is the role that [Auth.RoleGet] asks for.
type RoleGetRequest struct {
	// Name is required.
	Name string
}

// RoleGrantPermissionRequest is what [Auth.RoleGrantPermission] allows a role.
//
// Key alone is one key. At most one of Prefix, FromKey and RangeEnd widens that
// to a range.
type RoleGrantPermissionRequest struct {
	// Role is its name. Required.
	Role string
	// Type is the kind of access; the zero value is PermissionRead.
	Type PermissionType
	// Key is required unless Prefix or FromKey is set; empty with one of these
	// means all keys.
	Key string
	// Prefix means all keys that begin with Key.
	Prefix bool
	// FromKey means all keys that are not less than Key.
	FromKey bool
	// RangeEnd means the keys from Key up to, but not including, RangeEnd. It must
	// be above Key.
	RangeEnd string
}

// RoleRevokePermissionRequest is what [Auth.RoleRevokePermission] takes from a
// role. It must name the very key or range that was granted, not a part of it.
type RoleRevokePermissionRequest struct {
	// Role is its name. Required.
	Role string
	// Key, Prefix, FromKey and RangeEnd are as they were granted, see
	// [RoleGrantPermissionRequest].
	Key      string
	Prefix   bool
	FromKey  bool
	RangeEnd string
}

// Format prints the request without the password.
func (r AuthenticateRequest) Format(f fmt.State, verb rune) {
	type plain AuthenticateRequest
	p := plain(r)
	hide(&p.Password)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Format prints the response without the token.
func (r AuthenticateResponse) Format(f fmt.State, verb rune) {
	type plain AuthenticateResponse
	p := plain(r)
	hide(&p.Token)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Format prints the request without the password.
func (r UserAddRequest) Format(f fmt.State, verb rune) {
	type plain UserAddRequest
	p := plain(r)
	hide(&p.Password)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Format prints the request without the password.
func (r UserChangePasswordRequest) Format(f fmt.State, verb rune) {
	type plain UserChangePasswordRequest
	p := plain(r)
	hide(&p.Password)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), p)
}

// Enable switches authentication on. From then on every call must be of a user;
// there must be a user "root" with the role "root". Enabling it twice is no error.
//
// Errors: ErrRootUserMissing and those of every call (see [Error]). It may be switched
// on if [MaybeApplied] says so.
//
// etcd: Auth/AuthEnable (since 3.0)
func (a Auth) Enable(ctx context.Context) (*AuthEnableResponse, error) {
	resp := new(AuthEnableResponse)
	if err := a.c.do(ctx, rpc.AuthEnable, &authEnableRequest{}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Disable switches authentication off: anybody may do anything. Users and roles
// stay, and count again after [Auth.Enable].
//
// Errors: ErrPermissionDenied and those of every call (see [Error]). It may be
// switched off if [MaybeApplied] says so.
//
// etcd: Auth/AuthDisable (since 3.0)
func (a Auth) Disable(ctx context.Context) (*AuthDisableResponse, error) {
	resp := new(AuthDisableResponse)
	if err := a.c.do(ctx, rpc.AuthDisable, &authDisableRequest{}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Status reports whether authentication is on.
//
// Errors: ErrPermissionDenied and those of every call (see [Error]).
//
// etcd: Auth/AuthStatus (since 3.5)
func (a Auth) Status(ctx context.Context) (*AuthStatusResponse, error) {
	resp := new(AuthStatusResponse)
	if err := a.c.do(ctx, rpc.AuthStatus, &authStatusRequest{}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// Authenticate checks a user's password and returns a token for that user. The
// client's own user has nothing to do with it, and needs no such call: see
// [Config]. A JWT from it can be the Token of another client's [Credentials].
//
// Errors: ErrInvalidRequest, ErrAuthFailed, ErrAuthNotEnabled and those of every call
// (see [Error]).
//
// etcd: Auth/Authenticate (since 3.0)
func (a Auth) Authenticate(ctx context.Context, req AuthenticateRequest) (*AuthenticateResponse, error) {
	wire := authenticateRequest{Name: req.Username, Password: req.Password}
	resp := new(AuthenticateResponse)
	if err := a.c.do(ctx, rpc.Authenticate, &wire, call.CheckUser(req.Username, req.Password), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserAdd adds a user without roles, and so without permissions.
//
// Errors: ErrInvalidRequest, ErrUserExists, ErrPermissionDenied and those of every
// call (see [Error]). The user may have been added if [MaybeApplied] says so.
//
// etcd: Auth/UserAdd (since 3.0; NoPassword 3.4)
func (a Auth) UserAdd(ctx context.Context, req UserAddRequest) (*UserAddResponse, error) {
	wire := authUserAddRequest{Name: req.Name, Password: req.Password}
	err := checkName("Name", req.Name)
	switch {
	case err != nil:
	case req.NoPassword && req.Password != "":
		err = errors.New("NoPassword and Password are both set; use one")
	case req.NoPassword:
		wire.Options = &userAddOptions{NoPassword: true}
	default:
		err = checkName("Password", req.Password)
	}
	resp := new(UserAddResponse)
	if err := a.c.do(ctx, rpc.UserAdd, &wire, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserDelete deletes a user. The server refuses later requests of the user's clients;
// their open watches continue until the connection ends.
//
// Errors: ErrInvalidRequest, ErrUserNotFound, ErrRootRequired, ErrPermissionDenied and
// those of every call (see [Error]). The user may have been deleted if [MaybeApplied]
// says so.
//
// etcd: Auth/UserDelete (since 3.0)
func (a Auth) UserDelete(ctx context.Context, req UserDeleteRequest) (*UserDeleteResponse, error) {
	resp := new(UserDeleteResponse)
	if err := a.c.do(ctx, rpc.UserDelete, (*authUserDeleteRequest)(&req), checkName("Name", req.Name), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserGet returns the roles of a user. Users may ask about themselves.
//
// Errors: ErrInvalidRequest, ErrUserNotFound, ErrPermissionDenied and those of every
// call (see [Error]).
//
// etcd: Auth/UserGet (since 3.0)
func (a Auth) UserGet(ctx context.Context, req UserGetRequest) (*UserGetResponse, error) {
	resp := new(UserGetResponse)
	if err := a.c.do(ctx, rpc.UserGet, (*authUserGetRequest)(&req), checkName("Name", req.Name), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserList lists the users.
//
// Errors: ErrPermissionDenied and those of every call (see [Error]).
//
// etcd: Auth/UserList (since 3.0)
func (a Auth) UserList(ctx context.Context) (*UserListResponse, error) {
	resp := new(UserListResponse)
	if err := a.c.do(ctx, rpc.UserList, &authUserListRequest{}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserChangePassword changes a user's password. From then on the user's clients need
// the new one, this client too if it is its own user: see Config.Credentials. A user
// without a password stays without one.
//
// Errors: ErrInvalidRequest, ErrUserNotFound, ErrPermissionDenied and those of every
// call (see [Error]). The password may have been changed if [MaybeApplied] says so.
//
// etcd: Auth/UserChangePassword (since 3.0)
func (a Auth) UserChangePassword(ctx context.Context, req UserChangePasswordRequest) (*UserChangePasswordResponse, error) {
	wire := authUserChangePasswordRequest{Name: req.Name, Password: req.Password}
	err := checkName("Name", req.Name)
	if err == nil {
		err = checkName("Password", req.Password)
	}
	resp := new(UserChangePasswordResponse)
	if err := a.c.do(ctx, rpc.UserChangePassword, &wire, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserGrantRole gives a role to a user. Giving it twice is no error.
//
// Errors: ErrInvalidRequest, ErrUserNotFound, ErrRoleNotFound, ErrPermissionDenied and
// those of every call (see [Error]). It may have been given if [MaybeApplied] says so.
//
// etcd: Auth/UserGrantRole (since 3.0)
func (a Auth) UserGrantRole(ctx context.Context, req UserGrantRoleRequest) (*UserGrantRoleResponse, error) {
	resp := new(UserGrantRoleResponse)
	if err := a.c.do(ctx, rpc.UserGrantRole, (*authUserGrantRoleRequest)(&req), checkUserAndRole(req.User, req.Role), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// UserRevokeRole takes a role from a user.
//
// Errors: ErrInvalidRequest, ErrUserNotFound, ErrRoleNotGranted, ErrRootRequired,
// ErrPermissionDenied and those of every call (see [Error]). It may have been taken if
// [MaybeApplied] says so.
//
// etcd: Auth/UserRevokeRole (since 3.0)
func (a Auth) UserRevokeRole(ctx context.Context, req UserRevokeRoleRequest) (*UserRevokeRoleResponse, error) {
	wire := authUserRevokeRoleRequest{Name: req.User, Role: req.Role}
	resp := new(UserRevokeRoleResponse)
	if err := a.c.do(ctx, rpc.UserRevokeRole, &wire, checkUserAndRole(req.User, req.Role), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleAdd adds a role, which allows nothing yet.
//
// Errors: ErrInvalidRequest, ErrRoleExists, ErrPermissionDenied and those of every
// call (see [Error]). The role may have been added if [MaybeApplied] says so.
//
// etcd: Auth/RoleAdd (since 3.0)
func (a Auth) RoleAdd(ctx context.Context, req RoleAddRequest) (*RoleAddResponse, error) {
	resp := new(RoleAddResponse)
	if err := a.c.do(ctx, rpc.RoleAdd, (*authRoleAddRequest)(&req), checkName("Name", req.Name), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleDelete deletes a role, and takes it from all users.
//
// Errors: ErrInvalidRequest, ErrRoleNotFound, ErrRootRequired, ErrPermissionDenied and
// those of every call (see [Error]). The role may have been deleted if [MaybeApplied]
// says so.
//
// etcd: Auth/RoleDelete (since 3.0)
func (a Auth) RoleDelete(ctx context.Context, req RoleDeleteRequest) (*RoleDeleteResponse, error) {
	wire := authRoleDeleteRequest{Role: req.Name}
	resp := new(RoleDeleteResponse)
	if err := a.c.do(ctx, rpc.RoleDelete, &wire, checkName("Name", req.Name), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleGet returns the permissions of a role. Users may ask about roles that they have.
//
// Errors: ErrInvalidRequest, ErrRoleNotFound, ErrPermissionDenied and those of every
// call (see [Error]).
//
// etcd: Auth/RoleGet (since 3.0)
func (a Auth) RoleGet(ctx context.Context, req RoleGetRequest) (*RoleGetResponse, error) {
	wire := authRoleGetRequest{Role: req.Name}
	resp := new(RoleGetResponse)
	if err := a.c.do(ctx, rpc.RoleGet, &wire, checkName("Name", req.Name), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleList lists the roles.
//
// Errors: ErrPermissionDenied and those of every call (see [Error]).
//
// etcd: Auth/RoleList (since 3.0)
func (a Auth) RoleList(ctx context.Context) (*RoleListResponse, error) {
	resp := new(RoleListResponse)
	if err := a.c.do(ctx, rpc.RoleList, &authRoleListRequest{}, nil, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleGrantPermission allows a role to read or write keys. For a key or range that
// the role has a permission for already, Type takes the place of that one's.
//
// Errors: ErrInvalidRequest, ErrRoleNotFound, ErrPermissionDenied and those of every
// call (see [Error]). The permission may have been granted if [MaybeApplied] says so.
//
// etcd: Auth/RoleGrantPermission (since 3.0)
func (a Auth) RoleGrantPermission(ctx context.Context, req RoleGrantPermissionRequest) (*RoleGrantPermissionResponse, error) {
	wire, err := req.wire()
	resp := new(RoleGrantPermissionResponse)
	if err := a.c.do(ctx, rpc.RoleGrantPermission, &wire, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// RoleRevokePermission takes a permission from a role.
//
// Errors: ErrInvalidRequest, ErrRoleNotFound, ErrPermissionNotGranted,
// ErrPermissionDenied and those of every call (see [Error]). The permission may have
// been taken if [MaybeApplied] says so.
//
// etcd: Auth/RoleRevokePermission (since 3.0)
func (a Auth) RoleRevokePermission(ctx context.Context, req RoleRevokePermissionRequest) (*RoleRevokePermissionResponse, error) {
	wire, err := req.wire()
	resp := new(RoleRevokePermissionResponse)
	if err := a.c.do(ctx, rpc.RoleRevokePermission, &wire, err, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (r RoleGrantPermissionRequest) wire() (authRoleGrantPermissionRequest, error) {
	w := authRoleGrantPermissionRequest{Name: r.Role, Perm: &Permission{Type: r.Type}}
	if err := checkName("Role", r.Role); err != nil {
		return w, err
	}
	if r.Type < PermissionRead || r.Type > PermissionReadWrite {
		return w, fmt.Errorf("Type is %d; use PermissionRead, PermissionWrite or PermissionReadWrite", r.Type)
	}
	var err error
	w.Perm.Key, w.Perm.RangeEnd, err = filledInterval(r.Key, r.Prefix, r.FromKey, r.RangeEnd)
	return w, err
}

func (r RoleRevokePermissionRequest) wire() (authRoleRevokePermissionRequest, error) {
	w := authRoleRevokePermissionRequest{Role: r.Role}
	if err := checkName("Role", r.Role); err != nil {
		return w, err
	}
	var err error
	w.Key, w.RangeEnd, err = filledInterval(r.Key, r.Prefix, r.FromKey, r.RangeEnd)
	return w, err
}

func checkUserAndRole(user, role string) error {
	if err := checkName("User", user); err != nil {
		return err
	}
	return checkName("Role", role)
}

// checkName checks a string that may not be empty. It does not show it: it may be
// a password.
func checkName(field, value string) error {
	switch {
	case value == "":
		return errors.New(field + " is empty")
	case !utf8.ValidString(value):
		return errors.New(field + " is not valid UTF-8")
	}
	return nil
}
