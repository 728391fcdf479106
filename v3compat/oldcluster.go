package v3compat

import (
	"context"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rejectOld returns clientv3.ErrOldCluster if a member is more than one minor
// version older than the api module. A limit of 0 means none.
func rejectOld(client *clientv3.Client, limit time.Duration) error {
	ctx, cancel := client.Ctx(), context.CancelFunc(func() {})
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	for _, endpoint := range client.Endpoints() {
		status, err := client.Status(ctx, endpoint)
		if err != nil {
			return err
		}
		found, err := semver.NewVersion(status.Version)
		if err != nil {
			return err
		}
		if found.LessThan(oldest()) {
			return clientv3.ErrOldCluster
		}
	}
	return nil
}

// oldest is the minor version before the api module's.
func oldest() semver.Version {
	own := semver.New(version.Version)
	before := version.AllVersions[0]
	for _, v := range version.AllVersions {
		if v.Major > own.Major || v.Major == own.Major && v.Minor >= own.Minor {
			break
		}
		before = v
	}
	return before
}
