package etcd

// Version is the version of this package. Servers see it in the user agent of the
// client's requests.
const Version = "0.9.0"

const userAgent = "silly-etcd/" + Version
