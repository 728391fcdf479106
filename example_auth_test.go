package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"silly.store/etcd"
)

// As a user of a cluster with authentication. The name and password are not used
// while it is off.
func ExampleNew_password() {
	c, err := etcd.New(etcd.Config{
		Endpoints: endpoints,
		Username:  "registry",
		Password:  os.Getenv("REGISTRY_PASSWORD"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ready, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ready(ready); errors.Is(err, etcd.ErrAuthFailed) {
		log.Fatal("is the password of registry right? ", err)
	}
	fmt.Println("the cluster serves")
	// Output: the cluster serves
}

// The password is in a file that others replace now and then. It is read again
// when the server no longer accepts what it had.
func ExampleConfig_credentials() {
	c, err := etcd.New(etcd.Config{
		Endpoints: endpoints,
		Credentials: func(context.Context) (etcd.Credentials, error) {
			password, err := os.ReadFile("password")
			return etcd.Credentials{Username: "registry", Password: strings.TrimSpace(string(password))}, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the cluster serves")
	// Output: the cluster serves
}

// A user who may read and write the keys below services/, and nothing else.
func ExampleAuth() {
	auth := c.Auth()
	_, err := auth.RoleAdd(ctx, etcd.RoleAddRequest{Name: "services"})
	if err != nil && !errors.Is(err, etcd.ErrRoleExists) {
		log.Fatal(err)
	}
	_, err = auth.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{
		Role: "services", Type: etcd.PermissionReadWrite, Key: "services/", Prefix: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = auth.UserAdd(ctx, etcd.UserAddRequest{Name: "registry", Password: os.Getenv("REGISTRY_PASSWORD")})
	if err != nil && !errors.Is(err, etcd.ErrUserExists) {
		log.Fatal(err)
	}
	if _, err := auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "registry", Role: "services"}); err != nil {
		log.Fatal(err)
	}
	user, err := auth.UserGet(ctx, etcd.UserGetRequest{Name: "registry"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registry has the roles", user.Roles)
	// Output: registry has the roles [services]
}

// Authentication needs a user root with the role root before it can be switched
// on. Clients without credentials are shut out from then on.
func ExampleAuth_Enable() {
	auth := c.Auth()
	if _, err := auth.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: os.Getenv("ROOT_PASSWORD")}); err != nil {
		log.Fatal(err)
	}
	if _, err := auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"}); err != nil {
		log.Fatal(err)
	}
	if _, err := auth.Enable(ctx); err != nil {
		log.Fatal(err)
	}
	_, err := c.Get(ctx, etcd.GetRequest{Key: "color"})
	fmt.Println("without credentials:", errors.Is(err, etcd.ErrUnauthenticated))
	// Output: without credentials: true
}

func ExampleAuth_RoleGet() {
	role, err := c.Auth().RoleGet(ctx, etcd.RoleGetRequest{Name: "services"})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range role.Permissions {
		fmt.Printf("%s %q to %q\n", p.Type, p.Key, p.RangeEnd)
	}
	// Output: READWRITE "services/" to "services0"
}
