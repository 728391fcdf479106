package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Codec writes an instance as the value of its key, and reads it. It may be used
// concurrently.
type Codec interface {
	// Encode returns the value for an instance.
	Encode(Instance) ([]byte, error)
	// Decode reads a value. It sets Addr and Metadata; the other fields are set already. It
	// must not keep value or parts of it. After an error or a panic the key is not part of the
	// set but one of [Set.Undecodable].
	Decode(value []byte, into *Instance) error
}

// Endpoints is the codec of go.etcd.io/etcd/client/v3's package naming/endpoints, which
// its gRPC resolver reads: {"Op":0,"Addr":"10.0.0.1:80","Metadata":…}. It is the default.
type Endpoints struct{}

type endpoint struct {
	Op       uint8
	Addr     string
	Metadata any
}

// opDelete is the Op with which gRPC's naming, long ago, wrote that an address is gone.
const opDelete = 1

// Encode writes Addr and Metadata as JSON.
func (Endpoints) Encode(i Instance) ([]byte, error) {
	return json.Marshal(endpoint{Addr: i.Addr, Metadata: i.Metadata})
}

// Decode reads what Encode or client/v3 has written.
func (Endpoints) Decode(value []byte, into *Instance) error {
	var e endpoint
	if err := json.Unmarshal(value, &e); err != nil {
		return err
	}
	if e.Op == opDelete {
		return errors.New("the value says that the endpoint is deleted")
	}
	into.Addr, into.Metadata = e.Addr, e.Metadata
	return needsAddr(e.Addr)
}

func needsAddr(addr string) error {
	if addr == "" {
		return errors.New("the value has no address")
	}
	return nil
}

// Plain is the codec for values that are only the address, like those of go-zero. It
// drops Metadata.
type Plain struct{}

// Encode returns Addr.
func (Plain) Encode(i Instance) ([]byte, error) { return []byte(i.Addr), nil }

// Decode sets Addr to the value.
func (Plain) Decode(value []byte, into *Instance) error {
	into.Addr = string(value)
	return needsAddr(into.Addr)
}

// Kratos is the codec of go-kratos' registry: JSON with id, name, version, metadata and
// endpoints. Its keys are below the Service "/microservices/<name>".
//
// Metadata is a map[string]string. The entry "version" is the instance's version.
type Kratos struct {
	// Scheme is the scheme of the endpoint whose address is Addr; empty means "grpc".
	// Values without such an endpoint are left out of sets.
	Scheme string
	// Name is the name within the value; empty means the part of Service after its last
	// slash.
	Name string
}

type kratos struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []string          `json:"endpoints"`
}

const versionEntry = "version"

func (k Kratos) scheme() string {
	if k.Scheme == "" {
		return "grpc"
	}
	return k.Scheme
}

// Encode writes the instance with the one endpoint Scheme://Addr.
func (k Kratos) Encode(i Instance) ([]byte, error) {
	md, err := stringMap(i.Metadata)
	if err != nil {
		return nil, err
	}
	v := kratos{ID: i.ID, Name: k.Name, Version: md[versionEntry], Metadata: md}
	delete(md, versionEntry)
	if v.Name == "" {
		v.Name = lastPart(i.Service)
	}
	v.Endpoints = []string{(&url.URL{Scheme: k.scheme(), Host: i.Addr}).String()}
	return json.Marshal(v)
}

// Decode reads the address of the first endpoint with the scheme.
func (k Kratos) Decode(value []byte, into *Instance) error {
	var v kratos
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	at := slices.IndexFunc(v.Endpoints, func(e string) bool {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != k.scheme() {
			return false
		}
		into.Addr = u.Host
		return true
	})
	if at < 0 {
		return fmt.Errorf("there is no endpoint with the scheme %q", k.scheme())
	}
	md := make(map[string]any, len(v.Metadata)+1)
	for key, entry := range v.Metadata {
		md[key] = entry
	}
	if v.Version != "" {
		md[versionEntry] = v.Version
	}
	into.Metadata = md
	return needsAddr(into.Addr)
}

// stringMap is a copy of metadata whose entries are strings.
func stringMap(metadata any) (map[string]string, error) {
	out := make(map[string]string)
	switch md := metadata.(type) {
	case nil:
	case map[string]string:
		maps.Copy(out, md)
	case map[string]any:
		for key, entry := range md {
			text, ok := entry.(string)
			if !ok {
				return nil, fmt.Errorf("the entry %q of Metadata is a %T; this codec takes strings", key, entry)
			}
			out[key] = text
		}
	default:
		return nil, fmt.Errorf("Metadata is a %T; this codec takes a map[string]string", metadata)
	}
	return out, nil
}

func lastPart(service string) string { return service[strings.LastIndexByte(service, '/')+1:] }
