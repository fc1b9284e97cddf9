package cli

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// affected is what a command did, for JSON.
type affected struct {
	Path  string `json:"path"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes,omitempty"`
}

// tell reports what was done to one path. A path whose own error was printed is not reported.
func (a *app) tell(done affected, verb string) error {
	if a.asJSON() {
		return a.printJSON(done)
	}
	a.printf("%s: %d files %s", escape(done.Path), done.Files, verb)
	if done.Bytes > 0 {
		a.printf(", %s", bytesText(done.Bytes, true))
	}
	a.printf("\n")
	return nil
}

// freeCommand only drops copies of what the under store has; the master holds to that, whatever the flags.
func (a *app) freeCommand() *cobra.Command {
	var recursive, force bool
	cmd := &cobra.Command{
		Use: "free PATH...", Short: "Drop cached copies", Args: cobra.MinimumNArgs(1),
		Long:    "Drop cached copies of files that the under store has. What only workers have is never dropped.",
		Example: "  forebay fs free -r /dataset",
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything below directories")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "pinned files too")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		n, err := c.Free(ctx, path, recursive, force)
		if err != nil {
			return err
		}
		return a.tell(affected{Path: string(path), Files: n}, "freed")
	})
	return cmd
}

func (a *app) persistCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use: "persist PATH...", Short: "Write what only workers have to the under store", Args: cobra.MinimumNArgs(1),
		Long:    "Begin writing what only workers have to the under store. It goes on in the background: see `fs ls`.",
		Example: "  forebay fs persist -r /results",
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything below directories")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		n, err := c.Persist(ctx, path, recursive)
		if err != nil {
			return err
		}
		return a.tell(affected{Path: string(path), Files: n}, "to be persisted")
	})
	return cmd
}

// loadCommand caches by reading: the worker that owns a block fetches it as for any reader, once however many ask. The
// walk takes what the master knows after the metadata was loaded.
func (a *app) loadCommand() *cobra.Command {
	var metadataOnly bool
	var parallel int
	cmd := &cobra.Command{
		Use: "load PATH...", Short: "Cache files", Args: cobra.MinimumNArgs(1),
		Long: "Load the metadata of everything below the paths from the under store, then read every file once, so that\n" +
			"workers cache it. The bytes pass through this process.",
		Example: "  forebay fs load -j 16 /dataset\n  forebay fs load --metadata-only /bucket",
	}
	cmd.Flags().BoolVar(&metadataOnly, "metadata-only", false, "leave the files' content where it is")
	cmd.Flags().IntVarP(&parallel, "jobs", "j", 4, "read this many `files` at a time")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		found, err := c.LoadMetadata(ctx, path, true)
		if err != nil {
			return err
		}
		if metadataOnly {
			return a.tell(affected{Path: string(path), Files: found}, "known")
		}
		var files, bytes atomic.Int64
		t := a.newTransfer(ctx, "load", parallel)
		t.fail(c.WalkDir(ctx, path, func(_ dfs.Path, s *dfs.FileStatus, err error) error {
			if err != nil || s.IsDir() || !s.Completed {
				t.fail(err)
				return nil
			}
			t.progress.expect(s.Length)
			return t.start(func() error {
				n, err := loadOne(t, c, s)
				bytes.Add(n)
				if err == nil {
					files.Add(1)
				}
				return err
			})
		}))
		if err := t.wait(); err != nil {
			return err
		}
		return a.tell(affected{Path: string(path), Files: files.Load(), Bytes: bytes.Load()}, "loaded")
	})
	return cmd
}

// loadOne reads a file, so that the workers which own its blocks cache them.
func loadOne(t *transfer, c *client.Client, s *dfs.FileStatus) (int64, error) {
	f, err := c.OpenStatus(t.ctx, s, client.WithReadType(dfs.ReadCache))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	return f.WriteTo(t.progress.writer(io.Discard))
}
