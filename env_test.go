package etcd

import (
	"crypto/tls"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestConfigFromEnv(t *testing.T) {
	local := []string{"127.0.0.1:2379"}
	for env, want := range map[string]Config{
		"":                                   {Endpoints: local},
		"ETCDCTL_ENDPOINTS=":                 {Endpoints: local},
		"ETCDCTL_ENDPOINTS=h:1, https://i:2": {Endpoints: []string{"h:1", "https://i:2"}},
		"ETCDCTL_DISCOVERY_SRV=d ETCDCTL_DISCOVERY_SRV_NAME=n ETCDCTL_ENDPOINTS=h:1": {DiscoverySRV: "d", DiscoverySRVName: "n"},
		"ETCDCTL_DISCOVERY_SRV=d ETCDCTL_INSECURE_DISCOVERY=false":                   {DiscoverySRV: "d", TLSFiles: TLSFiles{ServerName: "d"}},
		"ETCDCTL_USER=u:p:q":                                                                        {Endpoints: local, Username: "u", Password: "p:q"},
		"ETCDCTL_USER=u ETCDCTL_PASSWORD=p":                                                         {Endpoints: local, Username: "u", Password: "p"},
		"ETCDCTL_USER=u:v ETCDCTL_PASSWORD=p":                                                       {Endpoints: local, Username: "u:v", Password: "p"},
		"ETCDCTL_CACERT=a ETCDCTL_CERT=b ETCDCTL_KEY=c":                                             {Endpoints: local, TLSFiles: TLSFiles{CA: "a", Cert: "b", Key: "c"}},
		"ETCDCTL_CACERT=a ETCDCTL_INSECURE_TRANSPORT=false":                                         {Endpoints: local, TLSFiles: TLSFiles{CA: "a"}},
		"ETCDCTL_INSECURE_TRANSPORT=false":                                                          {Endpoints: local, TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
		"ETCDCTL_INSECURE_SKIP_TLS_VERIFY=false":                                                    {Endpoints: local},
		"ETCDCTL_DIAL_TIMEOUT=2s ETCDCTL_COMMAND_TIMEOUT=3s":                                        {Endpoints: local, DialTimeout: 2 * time.Second, Timeout: 3 * time.Second},
		"ETCDCTL_MAX_RECV_BYTES=100":                                                                {Endpoints: local, MaxResponseBytes: 100},
		"ETCDCTL_API=3 ETCDCTL_HEX=true ETCDCTL_DEBUG=1 ETCDCTL_WRITE_OUT=json ETCDCTL_WATCH_KEY=k": {Endpoints: local},
		"ETCD_NAME=x ETCDCTL_INSECURE_DISCOVERY=true":                                               {Endpoints: local},
	} {
		got, err := configFromEnv(environ(env))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", env, got, err, want)
		}
	}
	got, err := configFromEnv(environ("ETCDCTL_AUTH_JWT_TOKEN=a.b.c"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := got.Credentials(t.Context()); err != nil || c.Token != "a.b.c" {
		t.Errorf("%v", err)
	}
}

// environ splits at " ETCDCTL", so that values may hold spaces.
func environ(s string) []string {
	var env []string
	for i, part := range strings.Split(s, " ETCDCTL") {
		if i > 0 {
			part = "ETCDCTL" + part
		}
		env = append(env, part)
	}
	return env
}

func TestConfigFromEnvErrors(t *testing.T) {
	for env, want := range map[string]string{
		"ETCDCTL_ENDPOINTS=h:1,i":                             `ETCDCTL_ENDPOINTS (number 2) "i" has no port`,
		"ETCDCTL_ENDPOINTS=h:1,":                              "ETCDCTL_ENDPOINTS (number 2) is empty; there is a comma too many",
		"ETCDCTL_ENDPOINTS=h:1,i:1;j:1":                       `ETCDCTL_ENDPOINTS (number 2) "i:1;j:1" holds more than one endpoint; write a comma between two`,
		"ETCDCTL_ENDPOINTS=http:2379":                         `ETCDCTL_ENDPOINTS (number 1) "http:2379" has no host, or is a port`,
		"ETCDCTL_ENDPOINTS=http://u:sec,secret@h:1":           "ETCDCTL_ENDPOINTS has an @ in it",
		"ETCDCTL_USER=u":                                      "ETCDCTL_USER is set without a password",
		"ETCDCTL_USER=u:":                                     "ETCDCTL_USER is set without a password",
		"ETCDCTL_USER=:secret":                                "without a user",
		"ETCDCTL_PASSWORD=secret":                             "ETCDCTL_PASSWORD is set without a user",
		"ETCDCTL_USER=u:secret ETCDCTL_AUTH_JWT_TOKEN=secret": "use one or the other",
		"ETCDCTL_INSECURE_SKIP_TLS_VERIFY=true":               "ETCDCTL_INSECURE_SKIP_TLS_VERIFY is true; to verify no certificates set Config.TLS",
		"ETCDCTL_INSECURE_TRANSPORT=no":                       `ETCDCTL_INSECURE_TRANSPORT is "no"; write true or false`,
		"ETCDCTL_INSECURE_DISCOVERY=no":                       `ETCDCTL_INSECURE_DISCOVERY is "no"`,
		"ETCDCTL_DIAL_TIMEOUT=2":                              `ETCDCTL_DIAL_TIMEOUT is "2"; write a duration`,
		"ETCDCTL_MAX_RECV_BYTES=x":                            "ETCDCTL_MAX_RECV_BYTES is",
		"ETCDCTL_API=2":                                       `ETCDCTL_API is "2"; this client speaks version 3 only`,
		"ETCDCTL_KEEPALIVE_TIME=2s":                           "ETCDCTL_KEEPALIVE_TIME is set; this client finds",
		"ETCDCTL_MAX_REQUEST_BYTES=2":                         "ETCDCTL_MAX_REQUEST_BYTES is set; this client",
		"ETCDCTL_PASS=secret":                                 "ETCDCTL_PASS is not known",
	} {
		_, err := configFromEnv(environ(env))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", env, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", env, err)
		}
	}
	t.Setenv("ETCDCTL_ENDPOINTS", "h")
	if _, err := ConfigFromEnv(); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "ConfigFromEnv: ETCDCTL_ENDPOINTS") {
		t.Error(err)
	}
}
