package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// options are the flags and arguments of the program.
type options struct {
	file string
	args []string

	embedded  bool
	endpoints []string
	idleAfter time.Duration // as in lua.Script
	lifetime  time.Duration // of --for; 0: none
	maxTime   time.Duration // 0: none
	maxMemory int64         // in bytes; 0: none
}

// errHelp is that the usage was asked for, and shown.
var errHelp = flag.ErrHelp

const usage = `usage: sillylua [flags] FILE.lua [arguments]

Runs a Lua program written for silly.store.etcd. FILE is - for the standard input.

`

func parseFlags(args []string, stderr io.Writer) (o options, err error) {
	set := flag.NewFlagSet("sillylua", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(stderr, usage)
		set.PrintDefaults()
	}
	embedded := set.Bool("embedded", false, "start a real etcd inside this program, and use it in place of the endpoints that the program names")
	endpoints := set.String("endpoints", "", "use this `list` of endpoints, separated by commas, in place of those that the program names")
	exit := set.String("exit", "idle", "when tasks wait for events only: `idle` ends the program after a second, never waits on")
	lifetime := set.Duration("for", 0, "end the program after this `time`, like 8s, with exit code 0")
	maxTime := set.Duration("max-time", 0, "end the program after this `time`, with exit code 1")
	maxMemory := set.Int64("max-memory", 0, "end the program when its heap reaches this number of `MiB`, with exit code 1")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, errHelp
		}
		return o, errors.New("see sillylua --help")
	}
	if set.NArg() == 0 {
		return o, errors.New("no program is named: sillylua [flags] FILE.lua")
	}
	o = options{
		file: set.Arg(0), args: set.Args()[1:], embedded: *embedded,
		lifetime: *lifetime, maxTime: *maxTime, maxMemory: *maxMemory << 20,
	}
	if err := nonzero(set); err != nil {
		return o, err
	}
	return o, o.check(*endpoints, *exit, *maxMemory)
}

// nonzero refuses flags that are given and say nothing, like a variable of the shell that was
// never set.
func nonzero(set *flag.FlagSet) (err error) {
	set.Visit(func(f *flag.Flag) {
		switch value := f.Value.String(); {
		case f.Name == "endpoints" && strings.Trim(value, ", ") == "":
			err = fmt.Errorf("--endpoints is %q and names none; leave it out to use those of the program", value)
		case f.Name == "max-memory" && value == "0", value == "0s":
			err = fmt.Errorf("--%s is %s; leave it out for no bound", f.Name, value)
		}
	})
	return err
}

// check finishes the options with what flags say that has more than one meaning.
func (o *options) check(endpoints, exit string, megabytes int64) error {
	for endpoint := range strings.SplitSeq(endpoints, ",") {
		if endpoint = strings.TrimSpace(endpoint); endpoint != "" {
			o.endpoints = append(o.endpoints, endpoint)
		}
	}
	switch exit {
	case "idle":
	case "never":
		o.idleAfter = -1
	default:
		return fmt.Errorf("--exit is %q; use idle or never", exit)
	}
	const most = 1 << 40
	switch {
	case o.embedded && len(o.endpoints) > 0:
		return errors.New("--embedded and --endpoints exclude each other")
	case o.lifetime < 0 || o.maxTime < 0:
		return errors.New("--for and --max-time must not be negative")
	case megabytes < 0 || megabytes > most:
		return fmt.Errorf("--max-memory is %d MiB; it must be from 0 to %d", megabytes, int64(most))
	}
	return nil
}
