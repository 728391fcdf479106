package v3compat

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// The server that most tests share. A test keeps to keys that begin with its
