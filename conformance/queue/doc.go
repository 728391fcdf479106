// Package queue tests the work queue of the package of that name on real servers.
package queue
