package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// getCommand goes by what LOCAL is when it begins. With "-" the files are printed one after the other, and -r is not looked at:
// a tree has no form on one stream.
func (a *app) getCommand() *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use: "get PATH... LOCAL", Short: "Copy files out", Args: cobra.MinimumNArgs(2),
		Long: "Copy files to the local disk. When LOCAL is a directory, they go into it under their names. A file appears\n" +
			"under its name when it is whole. LOCAL - is standard output.",
		Example: "  forebay fs get /dataset/train.tar .\n  forebay fs get -r -j 8 /dataset ./copy",
	}
	flags.register(cmd, false)
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) error {
		sources, target := args[:len(args)-1], args[len(args)-1]
		info, err := os.Stat(target)
		into := err == nil && info.IsDir()
		if !into && len(sources) > 1 && target != "-" {
			return dfs.Errorf(dfs.NotDirectory, "get", target, "several files need a directory: make it first")
		}
		g := &getter{t: a.newTransfer(ctx, "get", flags.parallel), c: c, flags: flags}
		for _, text := range sources {
			source, err := dfs.ParsePath(text)
			if err == nil && target == "-" {
				err = a.copyOut(ctx, c, source, 0, -1)
			} else if err == nil {
				at := target
				if into {
					at = filepath.Join(target, source.Name())
				}
				err = g.get(source, at)
			}
			g.t.fail(err)
		}
		return g.t.wait()
	})
	return cmd
}

// getter copies files and directories out, with their permission bits. Files with the same name from different sources clash as
// with any file that is there: without -f one of them gets the name, whole, and the others are errors.
type getter struct {
	t     *transfer
	c     *client.Client
	flags copyFlags
}

// get copies a file, or a tree: directories at once, so that they are there before their files, which come as places
// come free. Names hold no slash and no "..", which the namespace refuses, so that nothing lands outside target.
func (g *getter) get(source dfs.Path, target string) error {
	status, err := g.c.Stat(g.t.ctx, source)
	switch {
	case err != nil:
		return err
	case !status.IsDir():
		return g.file(status, target)
	case !g.flags.recursive:
		return dfs.Errorf(dfs.IsDirectory, "get", string(source), "add -r to copy it with everything below")
	}
	return g.c.WalkDir(g.t.ctx, source, func(path dfs.Path, s *dfs.FileStatus, err error) error {
		if err != nil {
			g.t.fail(err)
			return nil
		}
		at := filepath.Join(target, filepath.FromSlash(source.Relative(path)))
		if !s.IsDir() {
			return g.file(s, at)
		}
		return g.t.directory(localError("get", at, os.MkdirAll(at, 0o755)))
	})
}

// file copies one file when its turn comes.
func (g *getter) file(s *dfs.FileStatus, target string) error {
	g.t.progress.expect(s.Length)
	return g.t.start(func() error { return g.copy(s, target) })
}

// copy writes a temporary file beside target, on the same file system, and gives it its name when it is whole (INV-1). The look
// before it spares reading what cannot be placed; place decides (INV-2). An error, an interrupt included, leaves nothing.
func (g *getter) copy(s *dfs.FileStatus, target string) error {
	if _, err := os.Lstat(target); err == nil && !g.flags.force {
		return dfs.Errorf(dfs.AlreadyExists, "get", target, "local file: add -f to overwrite it")
	}
	f, err := g.c.OpenStatus(g.t.ctx, s)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	part, err := os.CreateTemp(filepath.Dir(target), ".forebay-*.part")
	if err != nil {
		return localError("get", target, err)
	}
	defer func() { _ = os.Remove(part.Name()) }() // fails when it has got its name, as it should
	_, err = f.WriteTo(g.t.progress.writer(part))
	if err == nil {
		err = part.Chmod(os.FileMode(s.Mode & 0o777))
	}
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = g.place(part.Name(), target)
	}
	return localError("get", target, err)
}

// place gives a whole file its name. Without -f a link does it, which never replaces a file that came meanwhile; where
// the file system has no links, a rename must do.
func (g *getter) place(part, target string) error {
	if !g.flags.force {
		if err := os.Link(part, target); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return os.Rename(part, target)
}
