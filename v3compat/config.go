package v3compat

import (
	"context"
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
func ownConfig(config *clientv3.Config) (etcd.Config, schemes, error) {
	if err := refuse(config); err != nil {
		return etcd.Config{}, asTheyAre, err
	}
	schemes, security := schemesOf(config.Endpoints[0], config.TLS)
	own := etcd.Config{
		Endpoints:        schemes.ownAll(config.Endpoints),
		SyncInterval:     config.AutoSyncInterval,
		DialTimeout:      config.DialTimeout,
		MaxResponseBytes: config.MaxCallRecvMsgSize,
		TLS:              security,
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
	for _, d := range []*time.Duration{&own.SyncInterval, &own.DialTimeout, &own.RetrySleep} {
		if *d > 0 {
			*d = max(*d, time.Millisecond) // the shortest that etcd.Config takes for meant
		}
	}
	if token := config.Token; token != "" {
		own.Credentials = func(context.Context) (etcd.Credentials, error) { return etcd.Credentials{Token: token}, nil }
	}
	return own, schemes, nil
}

// refuse returns an error that names the field that has no meaning here.
func refuse(config *clientv3.Config) error {
	switch {
	case len(config.Endpoints) == 0:
		return clientv3.ErrNoAvailableEndpoints
	case config.Token != "" && (config.Username != "" || config.Password != ""):
		return clientv3.ErrMutuallyExclusiveCfg
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
		{"DialOptions other than interceptors", len(config.DialOptions) > 0},
	} {
		if f.set {
			fields = append(fields, f.name)
		}
	}
	return fields
}
