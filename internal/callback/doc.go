// Package callback calls functions of the user in goroutines of the client. A panic there
// would end the process, since no caller could recover it: it becomes an [*Error], which
// names the function, and a [Report]. A function that is called in the goroutine of its
// own caller needs none of this: its panic is the caller's.
package callback
