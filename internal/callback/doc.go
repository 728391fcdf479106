// Package callback calls user functions in goroutines of the client. A panic there would end the
// process, since no caller could recover it. It becomes an [*Error], which names the function,
// and a [Report]. A function that runs in the goroutine of its own caller needs none of this: its
// panic is the caller's.
package callback
