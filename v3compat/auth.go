package v3compat

import (
	"context"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"silly.store/etcd"
)

// authServer answers the requests of etcd's Auth service.
type authServer struct {
	pb.UnimplementedAuthServer
	c *etcd.Client
}

// nothing is the request of a method that takes none.
type nothing struct{}

func without[Response any](do func(context.Context) (Response, error)) func(context.Context, nothing) (Response, error) {
	return func(ctx context.Context, _ nothing) (Response, error) { return do(ctx) }
}

func (s *authServer) AuthEnable(ctx context.Context, _ *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	resp, err := call(ctx, without(s.c.Auth().Enable), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthEnableResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) AuthDisable(ctx context.Context, _ *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	resp, err := call(ctx, without(s.c.Auth().Disable), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthDisableResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) AuthStatus(ctx context.Context, _ *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	resp, err := call(ctx, without(s.c.Auth().Status), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthStatusResponse{Header: header(resp.Header), Enabled: resp.Enabled, AuthRevision: resp.AuthRevision}, nil
}

// Authenticate, UserAdd and UserChangePassword take an empty password, as etcd does.
func (s *authServer) Authenticate(ctx context.Context, req *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	return through(ctx, s.c, request{pb.Auth_Authenticate_FullMethodName, anonymous}, req, new(pb.AuthenticateResponse))
}

func (s *authServer) UserAdd(ctx context.Context, req *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	return through(ctx, s.c, request{path: pb.Auth_UserAdd_FullMethodName}, req, new(pb.AuthUserAddResponse))
}

func (s *authServer) UserGet(ctx context.Context, req *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	if req.Name == "" {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	resp, err := call(ctx, s.c.Auth().UserGet, etcd.UserGetRequest{Name: req.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGetResponse{Header: header(resp.Header), Roles: resp.Roles}, nil
}

func (s *authServer) UserList(ctx context.Context, _ *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	resp, err := call(ctx, without(s.c.Auth().UserList), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserListResponse{Header: header(resp.Header), Users: resp.Users}, nil
}

func (s *authServer) UserDelete(ctx context.Context, req *pb.AuthUserDeleteRequest) (*pb.AuthUserDeleteResponse, error) {
	if req.Name == "" {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	resp, err := call(ctx, s.c.Auth().UserDelete, etcd.UserDeleteRequest{Name: req.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserDeleteResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) UserChangePassword(ctx context.Context, req *pb.AuthUserChangePasswordRequest) (*pb.AuthUserChangePasswordResponse, error) {
	return through(ctx, s.c, request{path: pb.Auth_UserChangePassword_FullMethodName}, req, new(pb.AuthUserChangePasswordResponse))
}

func (s *authServer) UserGrantRole(ctx context.Context, req *pb.AuthUserGrantRoleRequest) (*pb.AuthUserGrantRoleResponse, error) {
	if err := bothExist(req.User, req.Role); err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Auth().UserGrantRole, etcd.UserGrantRoleRequest{User: req.User, Role: req.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGrantRoleResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) UserRevokeRole(ctx context.Context, req *pb.AuthUserRevokeRoleRequest) (*pb.AuthUserRevokeRoleResponse, error) {
	if err := bothExist(req.Name, req.Role); err != nil {
		return nil, err
	}
	resp, err := call(ctx, s.c.Auth().UserRevokeRole, etcd.UserRevokeRoleRequest{User: req.Name, Role: req.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserRevokeRoleResponse{Header: header(resp.Header)}, nil
}

// bothExist says what etcd says of empty names.
func bothExist(user, role string) error {
	switch {
	case user == "":
		return rpctypes.ErrGRPCUserNotFound
	case role == "":
		return rpctypes.ErrGRPCRoleNotFound
	}
	return nil
}

func (s *authServer) RoleAdd(ctx context.Context, req *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	if req.Name == "" {
		return nil, rpctypes.ErrGRPCRoleEmpty
	}
	resp, err := call(ctx, s.c.Auth().RoleAdd, etcd.RoleAddRequest{Name: req.Name})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleAddResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) RoleGet(ctx context.Context, req *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	if req.Role == "" {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	resp, err := call(ctx, s.c.Auth().RoleGet, etcd.RoleGetRequest{Name: req.Role})
	if err != nil {
		return nil, err
	}
	out := &pb.AuthRoleGetResponse{Header: header(resp.Header)}
	for _, p := range resp.Permissions {
		out.Perm = append(out.Perm, &authpb.Permission{
			PermType: authpb.Permission_Type(p.Type), Key: []byte(p.Key), RangeEnd: []byte(p.RangeEnd),
		})
	}
	return out, nil
}

func (s *authServer) RoleList(ctx context.Context, _ *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	resp, err := call(ctx, without(s.c.Auth().RoleList), nothing{})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleListResponse{Header: header(resp.Header), Roles: resp.Roles}, nil
}

func (s *authServer) RoleDelete(ctx context.Context, req *pb.AuthRoleDeleteRequest) (*pb.AuthRoleDeleteResponse, error) {
	if req.Role == "" {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	resp, err := call(ctx, s.c.Auth().RoleDelete, etcd.RoleDeleteRequest{Name: req.Role})
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleDeleteResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) RoleGrantPermission(ctx context.Context, req *pb.AuthRoleGrantPermissionRequest) (*pb.AuthRoleGrantPermissionResponse, error) {
	switch {
	case req.Perm == nil:
		return nil, rpctypes.ErrGRPCPermissionNotGiven
	case len(req.Perm.Key) == 0 || emptyInterval(req.Perm.Key, req.Perm.RangeEnd):
		return nil, rpctypes.ErrGRPCInvalidAuthMgmt
	}
	grant := etcd.RoleGrantPermissionRequest{
		Role: req.Name, Type: etcd.PermissionType(req.Perm.PermType), Key: string(req.Perm.Key), RangeEnd: string(req.Perm.RangeEnd),
	}
	resp, err := call(ctx, s.c.Auth().RoleGrantPermission, grant)
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleGrantPermissionResponse{Header: header(resp.Header)}, nil
}

func (s *authServer) RoleRevokePermission(ctx context.Context, req *pb.AuthRoleRevokePermissionRequest) (*pb.AuthRoleRevokePermissionResponse, error) {
	if len(req.Key) == 0 || emptyInterval(req.Key, req.RangeEnd) {
		return nil, rpctypes.ErrGRPCPermissionNotGranted
	}
	revoke := etcd.RoleRevokePermissionRequest{Role: req.Role, Key: string(req.Key), RangeEnd: string(req.RangeEnd)}
	resp, err := call(ctx, s.c.Auth().RoleRevokePermission, revoke)
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleRevokePermissionResponse{Header: header(resp.Header)}, nil
}

// emptyInterval: no key is in it, so etcd grants no permission for it.
func emptyInterval(key, end []byte) bool {
	return len(end) > 0 && string(end) != fromKey && string(end) <= string(key)
}
