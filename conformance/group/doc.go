// Package group tests the groups of the package of that name on real servers.
package group
