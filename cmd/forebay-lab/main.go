// Command forebay-lab is the research binary: it demonstrates, breaks and measures real clusters of forebay processes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/forebay/forebay/cmd/forebay-lab/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := lab.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "forebay-lab:", err)
		stop()
		os.Exit(1)
	}
}
