package v3compat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
)

// What client/v3 does where Config leaves it open.
const (
	defaultMaxUnaryRetries    = 100
	defaultBackoffWaitBetween = 25 * time.Millisecond
)

// ownConfig is config in our words.
func ownConfig(config *clientv3.Config) (etcd.Config, error) {
	own := etcd.Config{
		Endpoints:        config.Endpoints,
		SyncInterval:     config.AutoSyncInterval,
		DialTimeout:      config.DialTimeout,
		MaxResponseBytes: config.MaxCallRecvMsgSize,
		TLS:              config.TLS,
		Username:         config.Username,
		Password:         config.Password,
		Retry:            defaultMaxUnaryRetries,
		RetrySleep:       defaultBackoffWaitBetween,
		Timeout:          -1, // only the caller's context bounds a call
	}
	if config.MaxUnaryRetries > 0 {
		own.Retry = int(min(config.MaxUnaryRetries, math.MaxInt32))
	}
	if config.BackoffWaitBetween > 0 {
		own.RetrySleep = config.BackoffWaitBetween
	}
	if token := config.Token; token != "" {
		own.Credentials = func(context.Context) (etcd.Credentials, error) { return etcd.Credentials{Token: token}, nil }
	}
	return own, refuse(config)
}

// refuse returns an error that names the field that has no meaning here.
func refuse(config *clientv3.Config) error {
	switch {
	case len(config.Endpoints) == 0:
		return clientv3.ErrNoAvailableEndpoints
	case config.Token != "" && (config.Username != "" || config.Password != ""):
		return clientv3.ErrMutuallyExclusiveCfg
	case len(config.DialOptions) > 0:
		return errors.New("clientv3.Config.DialOptions: gRPC options have no meaning for silly.store/etcd, " +
			"whose connections are its own; for a dialer or hooks make an etcd.Client and use v3compat.Wrap")
	case config.BackoffWaitBetween < 0:
		return fmt.Errorf("clientv3.Config.BackoffWaitBetween is negative: %v", config.BackoffWaitBetween)
	case config.AutoSyncInterval < 0:
		return fmt.Errorf("clientv3.Config.AutoSyncInterval is negative: %v", config.AutoSyncInterval)
	case config.DialTimeout < 0:
		return fmt.Errorf("clientv3.Config.DialTimeout is negative: %v", config.DialTimeout)
	case config.MaxCallRecvMsgSize < 0 || config.MaxCallRecvMsgSize > math.MaxInt32:
		return fmt.Errorf("clientv3.Config.MaxCallRecvMsgSize is %d; it must be in 0-%d", config.MaxCallRecvMsgSize, math.MaxInt32)
	}
	return nil
}

// withoutEffect lists the fields that are set and change nothing, because what
// they ask for is always so, or done otherwise.
func withoutEffect(config *clientv3.Config) []string {
	var fields []string
	for _, f := range [...]struct {
		name string
		set  bool
	}{
		{"DialKeepAliveTime", config.DialKeepAliveTime != 0},
		{"DialKeepAliveTimeout", config.DialKeepAliveTimeout != 0},
		{"PermitWithoutStream", config.PermitWithoutStream},
		{"MaxCallSendMsgSize", config.MaxCallSendMsgSize != 0},
		{"BackoffJitterFraction", config.BackoffJitterFraction != 0},
	} {
		if f.set {
			fields = append(fields, f.name)
		}
	}
	return fields
}
