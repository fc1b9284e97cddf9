// Command simcover tells how much of the production code the simulator executes: it builds forebay-lab with coverage of
// system/..., runs the sweep and each scenario once, and prints statement coverage by package. It ends with an error when
// master, worker or client, each with the packages below it, is covered less than it must be, and when a run fails: what a
// failing run covers shows nothing. make sim-cover runs it.
//
// What a process covers is written when it ends by itself. Statements are counted as Go's cover tool has them; generated code
// and packages that no run links do not count.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const module = "github.com/forebay/forebay/"

// groups are what must be covered.
var groups = []string{"system/master", "system/worker", "system/client"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "simcover:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out, progress io.Writer) error {
	f := flag.NewFlagSet("simcover", flag.ContinueOnError)
	f.SetOutput(progress)
	root := f.String("root", ".", "the `folder` of the checkout")
	seeds := f.Int("seeds", 200, "how many seeds to sweep")
	least := f.Float64("least", 70, "`percent` of the statements of master, worker and client that must be executed")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *seeds < 1 || *least < 0 || *least > 100 {
		return fmt.Errorf("%q, %d seeds, %v percent: want flags alone, at least 1 seed, and 0 to 100 percent", f.Args(), *seeds, *least)
	}
	dir, err := os.MkdirTemp("", "simcover-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	profile, err := measure(ctx, *root, dir, *seeds, progress)
	if err != nil {
		return err
	}
	covered, err := parseProfile(profile)
	if err != nil {
		return err
	}
	return covered.report(out, *least)
}

// measure runs everything and gives the profile in the text form of go test.
func measure(ctx context.Context, root, dir string, seeds int, progress io.Writer) (string, error) {
	binary, data := filepath.Join(dir, "forebay-lab"), filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil { //nolint:gosec // a temporary folder
		return "", err
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "GOCOVERDIR="+data)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		fmt.Fprintln(progress, "simcover:", filepath.Base(name), strings.Join(args, " "))
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, lastLines(stderr.String()))
		}
		return stdout.String(), nil
	}
	// The main package must be among those covered, or nothing is written when the process ends.
	if _, err := run("go", "build", "-p", "2", "-cover", "-coverpkg=./system/...,./cmd/forebay-lab", "-o", binary, "./cmd/forebay-lab"); err != nil {
		return "", err
	}
	if _, err := run(binary, "sim", "sweep", "--few", "--save=", "--seeds", strconv.Itoa(seeds)); err != nil {
		return "", err
	}
	listed, err := run(binary, "sim", "scenarios")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(listed) {
		if name, _, _ := strings.Cut(line, " "); name != "" {
			if _, err := run(binary, "sim", "run", "--quiet", "--scenario", name); err != nil {
				return "", err
			}
		}
	}
	text := filepath.Join(dir, "profile")
	if _, err := run("go", "tool", "covdata", "textfmt", "-i="+data, "-o="+text); err != nil {
		return "", err
	}
	profile, err := os.ReadFile(text)
	return string(profile), err
}

// lastLines is the end of what a process said: why it failed comes last.
func lastLines(text string) string {
	const most = 5
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(len(lines)-most, 0):], "\n")
}
