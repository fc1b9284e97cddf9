// Command forebay is a distributed caching file system: every role of a cluster, and the tools of its users and
// operators, in one binary. Package cli holds the commands; this one only hands over what a process has.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/forebay/forebay/cmd/forebay/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Environ())
	stop()
	os.Exit(code)
}
