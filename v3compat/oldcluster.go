package v3compat

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	own, err := parseRelease(version.Version)
	if err != nil {
		return err
	}
	for _, endpoint := range client.Endpoints() {
		status, err := client.Status(ctx, endpoint)
		if err != nil {
			return err
		}
		found, err := parseRelease(status.Version)
		if err != nil {
			return err
		}
		if found.before(own.previous()) {
			return clientv3.ErrOldCluster
		}
	}
	return nil
}

// release is a minor version. The types of the api module's own differ from one of
// its versions to the next.
type release struct{ major, minor int }

// parseRelease reads the minor version of a version like 3.7.3 or 3.8.0-alpha.0.
func parseRelease(text string) (release, error) {
	major, rest, _ := strings.Cut(text, ".")
	minor, _, found := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, alsoErr := strconv.Atoi(minor)
	if err != nil || alsoErr != nil || !found {
		return release{}, fmt.Errorf("%q is no version of etcd", text)
	}
	return release{m, n}, nil
}

func (r release) before(other release) bool {
	return r.major < other.major || r.major == other.major && r.minor < other.minor
}

// previous is the minor version before; of the first one of a major version it is
// the major version before.
func (r release) previous() release {
	if r.minor == 0 {
		return release{r.major - 1, 0}
	}
	return release{r.major, r.minor - 1}
}
