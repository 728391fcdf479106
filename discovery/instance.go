package discovery

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Instance is one instance of a service. It is not modified once it is registered or
// delivered, and may then be read concurrently.
type Instance struct {
	// Service is the name of the service, which may hold slashes: the prefix of the keys of
	// its instances. It is required and does not end with "/".
	Service string
	// ID distinguishes the instances of the service. It must not contain "/". Empty
	// means Addr.
	ID string
	// Addr is where the instance serves, like "10.0.0.1:80". It is required.
	Addr string
	// Metadata is anything that encoding/json can write; nil means none. A watch
	// delivers it as encoding/json decodes it into an any: map[string]any, string,
	// float64 and so on.
	Metadata any
	// Revision is the revision of the key's last put. Watches set it; Register ignores
	// it.
	Revision int64
}

// Key is the instance's key.
func (i Instance) Key() string { return i.Service + "/" + i.ID }

// Weight is the entry "weight" of Metadata, if Metadata is an object and the entry a whole
// number from 1 to 2^32-1, or a string with one. ok is false if not.
func (i Instance) Weight() (weight uint32, ok bool) {
	var text string
	switch md := i.Metadata.(type) {
	case map[string]string:
		text = md["weight"]
	case map[string]any:
		text = number(md["weight"])
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n > 0
}

// number is a number of JSON, or what a caller may have put in the place of one, as text.
func number(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case nil:
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// filled is the instance with the meaning of its zeros, or an error that names a field.
func (i Instance) filled() (Instance, error) {
	if err := checkService(i.Service); err != nil {
		return i, err
	}
	if i.Addr == "" {
		return i, invalid("Instance.Addr is empty")
	}
	field := "ID"
	if i.ID == "" {
		i.ID, field = i.Addr, "Addr, which stands for the ID,"
	}
	if strings.Contains(i.ID, "/") {
		return i, invalid("Instance.%s has a slash: %q; such a key would belong to another service", field, i.ID)
	}
	i.Revision = 0
	return i, nil
}

func checkService(name string) error {
	switch {
	case name == "":
		return invalid("Service is empty")
	case strings.HasSuffix(name, "/"):
		return invalid("Service ends with a slash: %q; the slash before the ID is added", name)
	}
	return nil
}
