// Command suites runs tests that others have written for client/v3 on v3compat:
//
//	go run ./suites etcd         etcd's own client tests
//	go run ./suites kubernetes   the tests of Kubernetes' storage
//	go run ./suites next         compiles v3compat with the newest client/v3
//
// A suite's module comes from the Go module proxy. Its source is copied to a temporary
// folder, where the constructor of the client is replaced and nothing else.
//
// etcd.txt and kubernetes.txt list the tests that differ, each with its reason. A run fails
// if a test fails that is not listed, and if a listed one passes.
//
// With -keep the folder stays, and its name is printed. -run selects tests; listed tests that it
// leaves out do not count as missing.
package main
