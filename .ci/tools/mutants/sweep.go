package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// verdict is what a sweep said of a binary.
type verdict struct {
	failed bool
	seed   int    // the first that failed; 0 when none is to blame alone
	missed bool   // no seed failed, but no seed reached something either
	words  string // the first line of the failure
}

// leftOut are seeds whose failure counts for nothing, since the unchanged tree fails them. The sweep of that tree gathers them.
type leftOut struct {
	seeds  map[int]bool
	gather bool
}

// takes tells whether a failing seed is left out.
func (l *leftOut) takes(seed int) bool {
	if l.gather {
		l.seeds[seed] = true
	}
	return l.seeds[seed]
}

// overlay writes what go build needs to see files with the bug in them.
func overlay(root string, m *mutant, dir string) (file string, err error) {
	changed, err := m.apply(inCheckout(root))
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, source := range changed {
		stand := filepath.Join(dir, fmt.Sprintf("changed%d.go", len(replace)))
		if err := os.WriteFile(stand, []byte(source), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(name))] = stand
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// build makes forebay-lab with a mutant in it; without one when m is nil. The compiler's words are in the error.
func build(ctx context.Context, root string, m *mutant, binary string) error {
	args := []string{"build", "-p", "1", "-ldflags", "-s -w", "-o", binary}
	if m != nil {
		dir, err := os.MkdirTemp("", "mutant-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file, err := overlay(root, m, dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", file)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/forebay-lab")...)
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not build: %w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}

func discard(binary string) { _ = os.Remove(binary) }

var (
	seedFailed = regexp.MustCompile(`^sim: seed (\d+): (.*)`)
	lastError  = regexp.MustCompile(`(?:sim: no seed reached|panic:|fatal error:).*`)
)

// sweep runs seeds from the first on, until one fails that is not left out, or limit has passed. The error is of a binary
// that cannot be run, or ctx's.
func sweep(ctx context.Context, binary string, seeds int, limit time.Duration, left *leftOut) (verdict, error) {
	bounded, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cmd := exec.CommandContext(bounded, binary, "sim", "sweep", "--first", "1", "--seeds", strconv.Itoa(seeds), "--save=", "--few", "--jobs", "1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return verdict{}, err
	}
	if err := cmd.Start(); err != nil {
		return verdict{}, err
	}
	v := watch(stderr, left)
	late := bounded.Err()
	stop() // it has failed, or has ended by itself
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return v, ctx.Err()
	case v.failed && !v.missed:
		return v, nil
	case late != nil:
		return verdict{failed: true, words: fmt.Sprintf("it hangs: no end within %v", limit.Round(time.Second))}, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && !v.failed && exit.ExitCode() > 0 && len(left.seeds) == 0 {
		return verdict{failed: true, words: fmt.Sprintf("it ended with exit code %d", exit.ExitCode())}, nil
	}
	return v, nil
}

// watch reads what a sweep tells until a seed has failed, or to its end. Of a process that died the last words are taken.
func watch(stderr io.Reader, left *leftOut) (v verdict) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := seedFailed.FindStringSubmatch(line); m != nil {
			seed, _ := strconv.Atoi(m[1]) // digits
			if left.takes(seed) {
				continue
			}
			return verdict{failed: true, seed: seed, words: m[2]}
		}
		if words := lastError.FindString(line); words != "" && !v.failed {
			v = verdict{failed: true, missed: strings.HasPrefix(words, "sim: no seed"), words: words}
		}
	}
	return v
}
