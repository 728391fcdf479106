package etcd

//etcd:message etcdserverpb.AuthEnableRequest
type authEnableRequest struct{}

// AuthEnableResponse is the answer of [Auth.Enable].
//
//etcd:message etcdserverpb.AuthEnableResponse
type AuthEnableResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthDisableRequest
type authDisableRequest struct{}

// AuthDisableResponse is the answer of [Auth.Disable].
//
//etcd:message etcdserverpb.AuthDisableResponse
type AuthDisableResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthStatusRequest
type authStatusRequest struct{}

// AuthStatusResponse is the answer of [Auth.Status].
//
//etcd:message etcdserverpb.AuthStatusResponse
type AuthStatusResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Enabled: calls must be authenticated.
	Enabled bool `etcd:"2"`
	// AuthRevision counts the changes of users and roles. It has nothing to do
	// with the revisions of keys.
	AuthRevision uint64 `etcd:"3"`
}

//etcd:message etcdserverpb.AuthenticateRequest
type authenticateRequest struct {
	Name     string `etcd:"1"`
	Password string `etcd:"2"`
}

// AuthenticateResponse is the answer of [Auth.Authenticate]. It prints without
// the token.
//
//etcd:message etcdserverpb.AuthenticateResponse
type AuthenticateResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Token stands for the user's name and password until it expires.
	Token string `etcd:"2" json:"-"`
}

//etcd:message etcdserverpb.AuthUserAddRequest
type authUserAddRequest struct {
	Name           string          `etcd:"1"`
	Password       string          `etcd:"2"`
	Options        *userAddOptions `etcd:"3"`
	HashedPassword string          `etcd:"4"` // the server fills it and takes Password out
}

//etcd:message authpb.UserAddOptions
type userAddOptions struct {
	NoPassword bool `etcd:"1"`
}

// UserAddResponse is the answer of [Auth.UserAdd].
//
//etcd:message etcdserverpb.AuthUserAddResponse
type UserAddResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserGetRequest
type authUserGetRequest struct {
	Name string `etcd:"1"`
}

// UserGetResponse is the answer of [Auth.UserGet].
//
//etcd:message etcdserverpb.AuthUserGetResponse
type UserGetResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Roles are the user's, sorted.
	Roles []string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserListRequest
type authUserListRequest struct{}

// UserListResponse is the answer of [Auth.UserList].
//
//etcd:message etcdserverpb.AuthUserListResponse
type UserListResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Users are the names of all users, sorted.
	Users []string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserDeleteRequest
type authUserDeleteRequest struct {
	Name string `etcd:"1"`
}

// UserDeleteResponse is the answer of [Auth.UserDelete].
//
//etcd:message etcdserverpb.AuthUserDeleteResponse
type UserDeleteResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserChangePasswordRequest
type authUserChangePasswordRequest struct {
	Name           string `etcd:"1"`
	Password       string `etcd:"2"`
	HashedPassword string `etcd:"3"` // the server fills it and takes Password out
}

// UserChangePasswordResponse is the answer of [Auth.UserChangePassword].
//
//etcd:message etcdserverpb.AuthUserChangePasswordResponse
type UserChangePasswordResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserGrantRoleRequest
type authUserGrantRoleRequest struct {
	User string `etcd:"1"`
	Role string `etcd:"2"`
}

// UserGrantRoleResponse is the answer of [Auth.UserGrantRole].
//
//etcd:message etcdserverpb.AuthUserGrantRoleResponse
type UserGrantRoleResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserRevokeRoleRequest
type authUserRevokeRoleRequest struct {
	Name string `etcd:"1"`
	Role string `etcd:"2"`
}

// UserRevokeRoleResponse is the answer of [Auth.UserRevokeRole].
//
//etcd:message etcdserverpb.AuthUserRevokeRoleResponse
type UserRevokeRoleResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleAddRequest
type authRoleAddRequest struct {
	Name string `etcd:"1"`
}

// RoleAddResponse is the answer of [Auth.RoleAdd].
//
//etcd:message etcdserverpb.AuthRoleAddResponse
type RoleAddResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleGetRequest
type authRoleGetRequest struct {
	Role string `etcd:"1"`
}

// RoleGetResponse is the answer of [Auth.RoleGet].
//
//etcd:message etcdserverpb.AuthRoleGetResponse
type RoleGetResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Permissions are the role's, sorted by Key.
	Permissions []Permission `etcd:"2,name=perm"`
}

//etcd:message etcdserverpb.AuthRoleListRequest
type authRoleListRequest struct{}

// RoleListResponse is the answer of [Auth.RoleList].
//
//etcd:message etcdserverpb.AuthRoleListResponse
type RoleListResponse struct {
	Header ResponseHeader `etcd:"1"`
	// Roles are the names of all roles, sorted.
	Roles []string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthRoleDeleteRequest
type authRoleDeleteRequest struct {
	Role string `etcd:"1"`
}

// RoleDeleteResponse is the answer of [Auth.RoleDelete].
//
//etcd:message etcdserverpb.AuthRoleDeleteResponse
type RoleDeleteResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleGrantPermissionRequest
type authRoleGrantPermissionRequest struct {
	Name string      `etcd:"1"`
	Perm *Permission `etcd:"2"`
}

// RoleGrantPermissionResponse is the answer of [Auth.RoleGrantPermission].
//
//etcd:message etcdserverpb.AuthRoleGrantPermissionResponse
type RoleGrantPermissionResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleRevokePermissionRequest
type authRoleRevokePermissionRequest struct {
	Role     string `etcd:"1"`
	Key      string `etcd:"2"`
	RangeEnd string `etcd:"3"`
}

// RoleRevokePermissionResponse is the answer of [Auth.RoleRevokePermission].
//
//etcd:message etcdserverpb.AuthRoleRevokePermissionResponse
type RoleRevokePermissionResponse struct {
	Header ResponseHeader `etcd:"1"`
}

// Permission is what a role may do with a key or a range of keys.
//
//etcd:message authpb.Permission
type Permission struct {
	Type PermissionType `etcd:"1,name=permType"`
	// Key is the key, or the first one of a range.
	Key string `etcd:"2"`
	// RangeEnd is empty for one key, and else the end of the range, which is not
	// of it; "\x00" means all keys from Key on.
	RangeEnd string `etcd:"3"`
}

// PermissionType says what a permission allows.
//
//etcd:enum authpb.Permission.Type
//etcd:value PermissionRead READ
//etcd:value PermissionWrite WRITE
//etcd:value PermissionReadWrite READWRITE
type PermissionType int32

const (
	// PermissionRead allows to read and watch. It is the zero value.
	PermissionRead PermissionType = 0
	// PermissionWrite allows to put and delete, but not to ask for the previous pair.
	PermissionWrite PermissionType = 1
	// PermissionReadWrite allows both.
	PermissionReadWrite PermissionType = 2
)
