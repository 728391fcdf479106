// Package concurrency tests the locks, elections and barriers of the package of that name on
// real servers, also beside client/v3's own on the same names.
package concurrency
