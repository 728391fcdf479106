package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseDSN(t *testing.T) {
	for dsn, want := range map[string]Config{
		"etcd://h":                   {Endpoints: []string{"http://h:2379"}},
		"etcd://h/":                  {Endpoints: []string{"http://h:2379"}},
		"etcd://h:1,i,[::1],[::2]:3": {Endpoints: []string{"http://h:1", "http://i:2379", "http://[::1]:2379", "http://[::2]:3"}},
		"etcds://h":                  {Endpoints: []string{"https://h:2379"}},
		"etcd://fe80::1%25eth0:1":    {Endpoints: []string{"http://fe80::1%25eth0:1"}},
		"etcds://h?tls=true":         {Endpoints: []string{"https://h:2379"}},
		"etcd://h?tls=true":          {Endpoints: []string{"https://h:2379"}},
		"etcd://h?tls=false":         {Endpoints: []string{"http://h:2379"}},
		"etcd://h?ca=a+b%20c.pem":    {Endpoints: []string{"https://h:2379"}, TLSFiles: TLSFiles{CA: "a+b c.pem"}},
		"etcd://h/?cert=c&key=k&server_name=n&ca=%40": {
			Endpoints: []string{"https://h:2379"}, TLSFiles: TLSFiles{CA: "@", Cert: "c", Key: "k", ServerName: "n"}},
		"etcd:///run/etcd.sock":  {Endpoints: []string{"unix:///run/etcd.sock"}},
		"etcds:///run/etcd%20x?": {Endpoints: []string{"unixs:///run/etcd x"}},
		"etcd+srv://u:p@example.com/?srv_name=a&sync_interval=1m": {
			DiscoverySRV: "example.com", DiscoverySRVName: "a", SyncInterval: time.Minute, Username: "u", Password: "p"},
		"etcds+srv://example.com":         {DiscoverySRV: "example.com", TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
		"etcd+srv://example.com?ca=c":     {DiscoverySRV: "example.com", TLSFiles: TLSFiles{CA: "c"}},
		"etcd://u:p@h":                    {Endpoints: []string{"http://h:2379"}, Username: "u", Password: "p"},
		"etcd://u%3A:p:%2F%40%25%C3%A9@h": {Endpoints: []string{"http://h:2379"}, Username: "u:", Password: "p:/@%é"},
		"etcd://h?timeout=3s&retry=2&retry_sleep=10ms&retry_writes=at_least_once&max_response_bytes=5&dial_timeout=1m": {
			Endpoints: []string{"http://h:2379"}, Timeout: 3 * time.Second, Retry: 2, RetrySleep: 10 * time.Millisecond,
			RetryWrites: AtLeastOnce, MaxResponseBytes: 5, DialTimeout: time.Minute},
		"etcd://h?coalesce=all":                          {Endpoints: []string{"http://h:2379"}, Coalesce: CoalesceAll},
		"etcd://h?coalesce=off":                          {Endpoints: []string{"http://h:2379"}, Coalesce: CoalesceOff},
		"etcd://h?coalesce=reads":                        {Endpoints: []string{"http://h:2379"}},
		"etcd://h?timeout=0&retry=0&retry_writes=safe&&": {Endpoints: []string{"http://h:2379"}, Timeout: -1, Retry: -1},
	} {
		got, err := ParseDSN(dsn)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", dsn, got, err, want)
		}
	}
}

func TestParseDSNErrors(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                "does not begin with etcd://",
		"h:2379":                          "does not begin with etcd://",
		"http://u:secret@h":               "does not begin with etcd://",
		"u:secret@h://x":                  "does not begin with etcd://",
		"etcd://":                         "and a host",
		"etcd:///":                        "has no host",
		"etcds://?tls=true":               "has no host",
		"etcd://u:secret@":                "has no host",
		"etcd://h,,i":                     "host 2 of 3 has no host; there is a comma too many",
		"etcd://h;i":                      "host 1 of 1 holds more than one; write a comma between two",
		"etcd://h:1 i:2":                  "host 1 of 1 holds more than one; write a comma between two",
		"etcd://h:1,etcd://i:2":           "has a scheme inside of the hosts; write it once",
		"etcd://http://h:1":               "has a scheme inside of the hosts; write it once",
		"etcd://u:secret@h,u:secret@i":    "Give the user once, before all hosts",
		"etcd://fe80::1%eth0":             "write [fe80::1%eth0]:2379",
		"etcd://h:x":                      "host 1 of 1 has a port that is not a number",
		"etcd://u:secret":                 "host 1 of 1 has a port that is not a number",
		"etcd://h,i:70000":                "host 2 of 2 has the port 70000",
		"etcd://::1":                      "IPv6 address without brackets",
		"etcd://h/db":                     "has a path after the hosts",
		"etcd://h#x":                      "has a fragment",
		"etcd://@h":                       "no user before it",
		"etcd://:secret@h":                "no user before it",
		"etcd://u@h":                      "the user has no password",
		"etcd://u%zz:secret@h":            "the user has a % without",
		"etcd://u:secret%@h":              "the password has a % without",
		"etcd://u:sec/secret@h":           "@ after the hosts",
		"etcd://u:sec?secret@h":           "@ after the hosts",
		"etcd://u:sec#secret@h":           "@ after the hosts",
		"etcd://u:sec@secret@h":           "@ in the user or password",
		"etcd://h?user=u":                 `parameter "user" is not known; there are ca, cert`,
		"etcd://h?retry=1&retry=2":        `parameter "retry" is given twice`,
		"etcd://h?ca=%":                   `parameter "ca" has a %`,
		"etcd://h?ca=":                    "parameter ca is empty",
		"etcd://h?ca":                     "parameter ca is empty",
		"etcd://h?timeout=5":              `parameter timeout is "5"; write a duration`,
		"etcd://h?timeout=-5s":            `parameter timeout is "-5s"`,
		"etcd://h?retry=-1":               `parameter retry is "-1"; write a number`,
		"etcd://h?coalesce=yes":           "write reads, all or off",
		"etcd://h?retry_writes=yes":       "write safe or at_least_once",
		"etcd://h?max_response_bytes=1GB": `parameter max_response_bytes is "1GB"`,
		"etcd://h?tls=skip-verify":        "certificates are always verified",
		"etcds://h?tls=false":             "tls is false, but etcds",
		"etcd://h?tls=false&ca=x":         "tls is false, but etcds",
		"etcd+srv://":                     "and a host",
		"etcd+srv:///x":                   "path after the domain",
		"etcd+srv:///":                    "there must be one domain",
		"etcd+srv://a,b":                  "there must be one domain",
		"etcd+srv://a:1":                  "there must be one domain",
		"etcd://a?srv_name=b":             "srv_name is only for",
		"etcd:///a%zz":                    "the path has a %",
	} {
		got, err := ParseDSN(dsn)
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", dsn, err)
		}
		if !reflect.DeepEqual(got, Config{}) {
			t.Errorf("%q: there is a configuration beside the error", dsn)
		}
	}
}

// Whatever is written around it, a password is in no text; and what is
// percent-encoded comes back as it was.
func FuzzParseDSN(f *testing.F) {
	f.Add("etcd", "root", "/", "h:2379,i", "timeout=5s&ca=x")
	f.Add("etcds", "a:b", "@?#%zz", "[::1]", "tls=skip-verify&tls=")
	f.Add("http", "", ":", "h/", "x=%")
	f.Fuzz(func(t *testing.T, scheme, user, junk, hosts, query string) {
		const secret = "PASSWORDPASSWORD"
		for _, dsn := range []string{
			scheme + "://" + user + ":" + secret + junk + "@" + hosts + "?" + query,
			scheme + "://" + user + ":" + junk + secret + "@" + hosts + "?" + query,
			"etcd://" + user + ":" + junk + secret + junk + "@" + hosts,
		} {
			config, err := ParseDSN(dsn)
			if err == nil {
				for _, e := range config.Endpoints {
					if strings.Contains(e, secret) {
						t.Errorf("%q: endpoint %q", dsn, e)
					}
				}
				_, err = config.validate()
			}
			for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", config)} {
				if strings.Contains(text, secret) {
					t.Errorf("%q: %s", dsn, text)
				}
			}
		}
		if user == "" || junk == "" {
			return
		}
		encode := strings.NewReplacer("+", "%20").Replace
		config, err := ParseDSN("etcd://" + encode(url.QueryEscape(user)) + ":" + encode(url.QueryEscape(junk)) + "@h")
		if err != nil || config.Username != user || config.Password != junk {
			t.Errorf("%q and %q: %v", user, junk, err)
		}
	})
}
