package callback

import "fmt"

// Panics are those of functions that are called one after the other, each whatever the others
// do. The zero value is of none.
type Panics []*Error

// Call calls f and notes its panic, or those that it has raised.
func (p *Panics) Call(name string, f func()) {
	defer func() {
		if value := recover(); value != nil {
			*p = append(*p, PanicsOf(name, value)...)
		}
	}()
	f()
}

// Raise panics with p if there are any: the caller has called everything that it had to.
func (p Panics) Raise() {
	if len(p) > 0 {
		panic(p)
	}
}

// Error is what the runtime prints of a panic that nobody catches.
func (p Panics) Error() string {
	if len(p) == 1 {
		return p[0].Error() + "\n" + p[0].Stack
	}
	return fmt.Sprintf("%d callbacks panicked, the first: %v\n%s", len(p), p[0], p[0].Stack)
}

// PanicsOf are the panics that a value that was recovered stands for: those that Raise has
// raised, or one. Only a function that is deferred calls it.
func PanicsOf(name string, value any) Panics {
	if raised, ok := value.(Panics); ok {
		return raised
	}
	return Panics{ErrorOf(name, value)}
}
