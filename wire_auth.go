package etcd

//etcd:message etcdserverpb.AuthEnableRequest
type authEnableRequest struct{}

//etcd:message etcdserverpb.AuthEnableResponse
type authEnableResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthDisableRequest
type authDisableRequest struct{}

//etcd:message etcdserverpb.AuthDisableResponse
type authDisableResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthStatusRequest
type authStatusRequest struct{}

//etcd:message etcdserverpb.AuthStatusResponse
type authStatusResponse struct {
	Header       ResponseHeader `etcd:"1"`
	Enabled      bool           `etcd:"2"`
	AuthRevision uint64         `etcd:"3"`
}

//etcd:message etcdserverpb.AuthenticateRequest
type authenticateRequest struct {
	Name     string `etcd:"1"`
	Password string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthenticateResponse
type authenticateResponse struct {
	Header ResponseHeader `etcd:"1"`
	Token  string         `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserAddRequest
type authUserAddRequest struct {
	Name           string          `etcd:"1"`
	Password       string          `etcd:"2"`
	Options        *userAddOptions `etcd:"3"`
	HashedPassword string          `etcd:"4"` // bcrypt, base64; in place of Password
}

//etcd:message authpb.UserAddOptions
type userAddOptions struct {
	NoPassword bool `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserAddResponse
type authUserAddResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserGetRequest
type authUserGetRequest struct {
	Name string `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserGetResponse
type authUserGetResponse struct {
	Header ResponseHeader `etcd:"1"`
	Roles  []string       `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserListRequest
type authUserListRequest struct{}

//etcd:message etcdserverpb.AuthUserListResponse
type authUserListResponse struct {
	Header ResponseHeader `etcd:"1"`
	Users  []string       `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserDeleteRequest
type authUserDeleteRequest struct {
	Name string `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserDeleteResponse
type authUserDeleteResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserChangePasswordRequest
type authUserChangePasswordRequest struct {
	Name           string `etcd:"1"`
	Password       string `etcd:"2"`
	HashedPassword string `etcd:"3"` // bcrypt, base64; in place of Password
}

//etcd:message etcdserverpb.AuthUserChangePasswordResponse
type authUserChangePasswordResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserGrantRoleRequest
type authUserGrantRoleRequest struct {
	User string `etcd:"1"`
	Role string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserGrantRoleResponse
type authUserGrantRoleResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthUserRevokeRoleRequest
type authUserRevokeRoleRequest struct {
	Name string `etcd:"1"`
	Role string `etcd:"2"`
}

//etcd:message etcdserverpb.AuthUserRevokeRoleResponse
type authUserRevokeRoleResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleAddRequest
type authRoleAddRequest struct {
	Name string `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleAddResponse
type authRoleAddResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleGetRequest
type authRoleGetRequest struct {
	Role string `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleGetResponse
type authRoleGetResponse struct {
	Header ResponseHeader `etcd:"1"`
	Perm   []permission   `etcd:"2"`
}

//etcd:message etcdserverpb.AuthRoleListRequest
type authRoleListRequest struct{}

//etcd:message etcdserverpb.AuthRoleListResponse
type authRoleListResponse struct {
	Header ResponseHeader `etcd:"1"`
	Roles  []string       `etcd:"2"`
}

//etcd:message etcdserverpb.AuthRoleDeleteRequest
type authRoleDeleteRequest struct {
	Role string `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleDeleteResponse
type authRoleDeleteResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleGrantPermissionRequest
type authRoleGrantPermissionRequest struct {
	Name string      `etcd:"1"`
	Perm *permission `etcd:"2"`
}

//etcd:message etcdserverpb.AuthRoleGrantPermissionResponse
type authRoleGrantPermissionResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message etcdserverpb.AuthRoleRevokePermissionRequest
type authRoleRevokePermissionRequest struct {
	Role     string `etcd:"1"`
	Key      string `etcd:"2"`
	RangeEnd string `etcd:"3"`
}

//etcd:message etcdserverpb.AuthRoleRevokePermissionResponse
type authRoleRevokePermissionResponse struct {
	Header ResponseHeader `etcd:"1"`
}

//etcd:message authpb.Permission
type permission struct {
	PermType permissionType `etcd:"1"`
	Key      string         `etcd:"2"`
	RangeEnd string         `etcd:"3"`
}

//etcd:enum authpb.Permission.Type
type permissionType int32

const (
	permissionRead      permissionType = 0 //etcd:value READ
	permissionWrite     permissionType = 1 //etcd:value WRITE
	permissionReadWrite permissionType = 2 //etcd:value READWRITE
)
