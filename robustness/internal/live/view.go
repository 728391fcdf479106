package live

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	// redraw is the interval of drawing on a terminal, report that of printing a
	// line without one.
	redraw = 500 * time.Millisecond
	report = 5 * time.Second
)

// View shows figures until it is stopped. One goroutine may use it.
type View struct {
	out    io.Writer
	colour bool
	// size returns the columns and lines of the terminal; nil if out is none.
	size  func() (columns, lines int)
	drawn int // lines of the last drawing
}

// NewView returns a view that draws on out if it is a terminal that can move its
// cursor, and prints lines otherwise. NO_COLOR turns off colours.
func NewView(out io.Writer) *View {
	v := &View{out: out}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return v
	}
	v.colour = os.Getenv("NO_COLOR") == ""
	v.size = func() (columns, lines int) {
		columns, lines, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80, 24
		}
		return columns, lines
	}
	return v
}

// Run shows the figures until stop is closed, and then a last time.
func (v *View) Run(stop <-chan struct{}, figures func() Figures) {
	every := report
	if v.size != nil {
		every = redraw
		io.WriteString(v.out, "\x1b[?25l")       // hide the cursor
		defer io.WriteString(v.out, "\x1b[?25h") // and show it
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f := figures()
		v.show(&f)
		select {
		case <-tick.C:
		case <-stop:
			f := figures()
			v.show(&f)
			return
		}
	}
}

// show draws the figures over the previous drawing, or prints a line.
func (v *View) show(f *Figures) {
	if v.size == nil {
		fmt.Fprintln(v.out, f.Plain())
		return
	}
	columns, lines := v.size()
	screen := f.Screen(columns - 1) // a full line would wrap
	screen = screen[:min(len(screen), max(lines-1, 1))]
	io.WriteString(v.out, drawing(screen, v.drawn, v.colour))
	v.drawn = len(screen)
}

// drawing returns the codes that draw lines over the drawn previous ones.
func drawing(screen []Line, drawn int, colour bool) string {
	var b strings.Builder
	if drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", drawn)
	}
	b.WriteString("\r\x1b[J")
	for _, l := range screen {
		on, off := "", ""
		if colour && l.Style != Plain {
			on, off = codes[l.Style], "\x1b[0m"
		}
		b.WriteString(on + l.Text + off + "\n")
	}
	return b.String()
}

// codes maps the styles to terminal codes.
var codes = map[Style]string{Strong: "\x1b[1m", Warning: "\x1b[33m", Alarm: "\x1b[1;31m"}
