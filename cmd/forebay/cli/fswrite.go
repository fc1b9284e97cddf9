package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// twoPaths parses a source and a target; a target that is a directory takes the source's name.
func twoPaths(ctx context.Context, c *client.Client, args []string) (source, target dfs.Path, err error) {
	if source, err = dfs.ParsePath(args[0]); err != nil {
		return "", "", err
	}
	if target, err = dfs.ParsePath(args[1]); err != nil {
		return "", "", err
	}
	into, err := isDirectory(ctx, c, target)
	if into && !source.IsRoot() {
		target = target.Join(source.Name())
	}
	return source, target, err
}

// cpCommand refuses to copy a directory into itself, which would go on for as long as there are names, and with -f a file
// onto itself, which would replace it while it is read.
func (a *app) cpCommand() *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use: "cp SOURCE TARGET", Short: "Copy within the namespace", Args: cobra.ExactArgs(2),
		Long:    "Copy within the namespace, across mounts too. The bytes pass through this process.",
		Example: "  forebay fs cp /dataset/a.tar /archive/a.tar\n  forebay fs cp -r -j 8 /dataset /archive",
	}
	flags.register(cmd, true)
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		source, target, err := twoPaths(ctx, c, args)
		if err != nil {
			return err
		}
		status, err := c.Stat(ctx, source)
		switch {
		case err != nil:
			return err
		case status.IsDir() && !flags.recursive:
			return dfs.Errorf(dfs.IsDirectory, "cp", string(source), "add -r to copy it with everything below")
		case status.IsDir() && source.Contains(target):
			return dfs.Errorf(dfs.InvalidArgument, "cp", string(source), "a directory cannot be copied into itself")
		case source == target && flags.force: // without -f the target exists, which is error enough
			return dfs.Errorf(dfs.InvalidArgument, "cp", string(source), "a file cannot be copied onto itself")
		}
		t := a.newTransfer(ctx, "cp", flags.parallel)
		t.fail(copyTree(t, c, source, target, opts))
		return t.wait()
	})
	return cmd
}

// copyTree copies a file, or a directory with everything below it.
func copyTree(t *transfer, c *client.Client, source, target dfs.Path, opts []client.Option) error {
	return c.WalkDir(t.ctx, source, func(path dfs.Path, s *dfs.FileStatus, err error) error {
		if err != nil {
			t.fail(err)
			return nil
		}
		at := target
		if path != source {
			if at, err = dfs.ParsePath(string(target) + "/" + source.Relative(path)); err != nil {
				t.fail(err)
				return nil
			}
		}
		if s.IsDir() {
			return t.directory(c.Mkdir(t.ctx, at, client.WithParents(), client.WithMode(s.Mode)))
		}
		t.progress.expect(s.Length)
		return t.start(func() error { return copyOne(t, c, s, at, opts) })
	})
}

// copyOne copies the version that the walk has seen: a file that is replaced meanwhile is copied as it was, or fails as
// stale, and is never a mixture.
func copyOne(t *transfer, c *client.Client, s *dfs.FileStatus, target dfs.Path, opts []client.Option) error {
	f, err := c.OpenStatus(t.ctx, s)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	w, err := c.Create(t.ctx, target, append([]client.Option{client.WithMode(s.Mode)}, opts...)...)
	if err != nil {
		return err
	}
	_, err = f.WriteTo(t.progress.writer(w))
	return w.CloseWithError(err)
}

// mvCommand refuses a target that exists unless forced: the master decides, in one step with the rename, and not an earlier
// look of ours.
func (a *app) mvCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "mv SOURCE TARGET", Short: "Rename", Args: cobra.ExactArgs(2),
		Long:    "Rename a file or a directory. Between mounts it cannot be done: copy and remove instead.",
		Example: "  forebay fs mv /dataset/.tmp /dataset/ready",
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "replace a target that exists")
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) error {
		source, target, err := twoPaths(ctx, c, args)
		switch {
		case err != nil:
			return err
		case force:
			return c.Rename(ctx, source, target)
		}
		return c.RenameNoReplace(ctx, source, target)
	})
	return cmd
}

// rmCommand removes. A path that is not there is an error without -f. A retry after a failover is none: the master knows
// it by its session and gives the first answer.
func (a *app) rmCommand() *cobra.Command {
	var o client.RemoveOptions
	var force bool
	cmd := &cobra.Command{
		Use: "rm PATH...", Short: "Remove", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs rm /dataset/old.tar\n  forebay fs rm -r /scratch/run-17\n  forebay fs rm --cache-only -r /bucket/prefix   # the under store keeps it",
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "directories with everything below them")
	f.BoolVarP(&force, "force", "f", false, "no error when there is nothing")
	f.BoolVar(&o.CacheOnly, "cache-only", false, "leave the under store as it is")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		err := c.Remove(ctx, path, o)
		if force && dfs.IsKind(err, dfs.NotFound) {
			return nil
		}
		return err
	})
	return cmd
}

func (a *app) mkdirCommand() *cobra.Command {
	var parents bool
	var mode string
	cmd := &cobra.Command{
		Use: "mkdir PATH...", Short: "Make directories", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs mkdir -p /dataset/2026/01",
	}
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "make missing parents, and no error when it exists")
	cmd.Flags().StringVar(&mode, "mode", "755", "permission `bits`, octal")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		bits, err := parseMode(mode)
		if err != nil {
			return err
		}
		opts := []client.Option{client.WithMode(bits)}
		if parents {
			opts = append(opts, client.WithParents())
		}
		return c.Mkdir(ctx, path, opts...)
	})
	return cmd
}

// touchCommand looks before it creates, so that touching a file never makes a new version of its content. Between the two
// another may come first; then its time is set.
func (a *app) touchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "touch PATH...", Short: "Make empty files, or set their modification time to now", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs touch /dataset/_SUCCESS",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			exists, err := c.Exists(ctx, path)
			if err != nil {
				return err
			}
			if exists {
				return c.SetAttr(ctx, path, client.Attributes{ModTime: new(a.h.Now())})
			}
			w, err := c.Create(ctx, path)
			if dfs.IsKind(err, dfs.AlreadyExists) { // it came meanwhile
				return c.SetAttr(ctx, path, client.Attributes{ModTime: new(a.h.Now())})
			}
			if err != nil {
				return err
			}
			return w.Close()
		}),
	}
}
