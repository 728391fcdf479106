package v3compat

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestCloseEndsTheContext(t *testing.T) {
	client := connect(t, clientv3.Config{})
	ctx := client.Ctx()
	_ = client.Close()
	select {
	case <-ctx.Done():
	case <-within(t, 5*time.Second).Done():
		t.Error("Ctx has not ended with Close")
	}
}
