package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// copyFlags are the flags of put, get and cp. Fewer jobs than one are one.
type copyFlags struct {
	recursive bool
	force     bool
	parallel  int
	writeType string
	blockSize string
}

func (f *copyFlags) register(cmd *cobra.Command, writes bool) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.recursive, "recursive", "r", false, "copy directories with everything below them")
	flags.BoolVarP(&f.force, "force", "f", false, "overwrite files that exist")
	flags.IntVarP(&f.parallel, "jobs", "j", 4, "copy this many `files` at a time")
	if writes {
		flags.StringVarP(&f.writeType, "write-type", "w", "", "CACHE_THROUGH, MUST_CACHE, THROUGH or ASYNC_THROUGH")
		flags.StringVar(&f.blockSize, "block-size", "", "block `size` of the new files")
	}
}

// options are the client's options for writing. What is not given is left to the configuration. Errors are of usage.
func (f *copyFlags) options() ([]client.Option, error) {
	var opts []client.Option
	if f.writeType != "" {
		t, err := dfs.ParseWriteType(f.writeType)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithWriteType(t))
	}
	size, err := sizeFlag(f.blockSize)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		opts = append(opts, client.WithBlockSize(size))
	}
	if f.force {
		opts = append(opts, client.WithOverwrite())
	}
	return opts, nil
}

// putCommand looks once whether the target is a directory, and then goes by that. Its sources are done in their order; an error
// of one does not keep the others from being copied.
func (a *app) putCommand() *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use: "put LOCAL... PATH", Short: "Copy local files in", Args: cobra.MinimumNArgs(2),
		Long: "Copy local files in. When PATH is a directory, they go into it under their names; otherwise one file or, with\n" +
			"-r, one directory becomes PATH. LOCAL - is standard input.",
		Example: "  forebay fs put train.tar /dataset/train.tar\n  forebay fs put -r -j 8 ./images /dataset\n  tar c . | forebay fs put - /backup/today.tar",
	}
	flags.register(cmd, true)
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		sources := args[:len(args)-1]
		target, err := dfs.ParsePath(args[len(args)-1])
		if err != nil {
			return err
		}
		into, err := isDirectory(ctx, c, target)
		if err != nil {
			return err
		}
		if !into && len(sources) > 1 {
			return dfs.Errorf(dfs.NotDirectory, "put", string(target), "several files need a directory: make it first")
		}
		p := &putter{t: a.newTransfer(ctx, "put", flags.parallel), c: c, opts: opts, recursive: flags.recursive}
		for _, source := range sources {
			at, err := landing(target, into, source)
			if err == nil {
				err = p.put(source, at)
			}
			p.t.fail(err)
		}
		return p.t.wait()
	})
	return cmd
}

// isDirectory tells whether path is one; a path that does not exist is none.
func isDirectory(ctx context.Context, c *client.Client, path dfs.Path) (bool, error) {
	s, err := c.Stat(ctx, path)
	if dfs.IsKind(err, dfs.NotFound) {
		return false, nil
	}
	return err == nil && s.IsDir(), err
}

// landing is where a local file goes: the target itself, or its own name in it. The name is that of the path's end as the kernel
// sees it, so that "." and ".." have one; a link's is its own and not that of what it leads to.
func landing(target dfs.Path, into bool, source string) (dfs.Path, error) {
	if !into {
		return target, nil
	}
	if source == "-" {
		return "", dfs.Errorf(dfs.IsDirectory, "put", string(target), "standard input has no name: give the path of the file")
	}
	absolute, err := filepath.Abs(source)
	if err != nil {
		return "", localError("put", source, err)
	}
	name := filepath.Base(absolute)
	if err := dfs.CheckName(name); err != nil {
		return "", err
	}
	return target.Join(name), nil
}

// putter copies local files and directories in, and keeps their permission bits. Owners and times are the writer's.
type putter struct {
	t         *transfer
	c         *client.Client
	opts      []client.Option
	recursive bool
}

// put begins the copy of one source. Errors of single files are printed by the transfer; what it returns is an error of
// the source as a whole.
func (p *putter) put(source string, target dfs.Path) error {
	if source == "-" {
		return p.write(p.t.a.input(p.t.ctx, func() (io.Reader, error) { return p.t.a.In, nil }), target, 0o644)
	}
	info, err := os.Stat(source)
	if err != nil {
		return localError("put", source, err)
	}
	switch {
	case info.IsDir() && !p.recursive:
		return dfs.Errorf(dfs.IsDirectory, "put", source, "add -r to copy it with everything below")
	case info.IsDir():
		return p.tree(source, target)
	}
	return p.file(source, target, info)
}

// input reads what may not come for long: standard input, or a pipe, whose opening waits for its writer. Reading it ends with
// ctx: a terminal that nobody types on must not hold up Ctrl-C. The task that waits below cannot be woken; it ends with the
// process, or when something comes after all. What open gives is closed if it can be.
func (a *app) input(ctx context.Context, open func() (io.Reader, error)) io.Reader {
	r, w := io.Pipe()
	a.h.Go("input", func() {
		in, err := open()
		if err == nil {
			_, err = io.Copy(w, in)
			if c, ok := in.(*os.File); ok && in != a.In {
				_ = c.Close() // only read from
			}
		}
		_ = w.CloseWithError(err) // never fails; nil is the end
	})
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
	return r
}

// file copies one file when its turn comes. It is opened then, not now: a tree of any size needs as many descriptors as
// copies run at a time, and a file that vanished meanwhile is told of and passed over.
func (p *putter) file(source string, target dfs.Path, info fs.FileInfo) error {
	p.t.progress.expect(info.Size())
	return p.t.start(func() error {
		if !info.Mode().IsRegular() { // a pipe, named as a source: of a tree only regular files come here
			in := p.t.a.input(p.t.ctx, func() (io.Reader, error) { return os.Open(source) })
			return localError("put", source, p.write(in, target, uint32(info.Mode().Perm())))
		}
		f, err := os.Open(source)
		if err != nil {
			return localError("put", source, err)
		}
		defer func() { _ = f.Close() }() // only read from
		return p.write(f, target, uint32(info.Mode().Perm()))
	})
}

// write copies r to target. On an error, an interrupt included, the file is dropped: readers see it whole or not at all.
func (p *putter) write(r io.Reader, target dfs.Path, mode uint32) error {
	w, err := p.c.Create(p.t.ctx, target, append([]client.Option{client.WithMode(mode)}, p.opts...)...)
	if err != nil {
		return err
	}
	_, err = w.ReadFrom(p.t.progress.reader(r))
	return w.CloseWithError(err)
}

// tree copies a directory: directories at once, in order, and files as places come free. A source that is a link is what it
// leads to. Below it links to files are followed; links to directories, and what is neither file nor directory (whose
// reading might never end), are passed over with an error.
func (p *putter) tree(source string, target dfs.Path) error {
	source, err := filepath.EvalSymlinks(source) // a walk would not follow a source that is a link itself
	if err != nil {
		return localError("put", source, err)
	}
	return filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			p.t.fail(localError("put", path, err))
			return nil
		}
		at, err := below(target, source, path)
		if err != nil && d.IsDir() { // nothing below it has a path either
			return p.t.directory(err)
		}
		if err != nil {
			p.t.fail(err)
			return nil
		}
		if d.IsDir() {
			return p.t.directory(p.c.Mkdir(p.t.ctx, at, client.WithParents()))
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			p.t.fail(localError("put", path, err))
			return nil
		case info.IsDir(): // only by a link: following it may lead around for ever, or out of the tree
			p.t.fail(dfs.Errorf(dfs.UnsupportedFeature, "put", path, "it is a link to a directory: passed over; name it as a source to copy it"))
			return nil
		case !info.Mode().IsRegular():
			p.t.fail(dfs.Errorf(dfs.UnsupportedFeature, "put", path, "it is neither a file nor a directory: passed over"))
			return nil
		}
		return p.file(path, at, info)
	})
}

// below is the place of path, which lies below source, under target. A name that the namespace refuses is an error: it is not
// changed into another, which might be a neighbour's.
func below(target dfs.Path, source, path string) (dfs.Path, error) {
	relative, err := filepath.Rel(source, path)
	if err != nil {
		return "", localError("put", path, err)
	}
	if relative == "." {
		return target, nil
	}
	return dfs.ParsePath(string(target) + "/" + filepath.ToSlash(relative))
}

// localError gives an error of a local file its kind; nil is nil, and an error that has a kind already is none of a local file.
func localError(op, path string, err error) error {
	if err == nil || isDFS(err) {
		return err
	}
	kind := dfs.Unknown
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = dfs.NotFound
	case errors.Is(err, fs.ErrExist):
		kind = dfs.AlreadyExists
	case errors.Is(err, fs.ErrPermission):
		kind = dfs.PermissionDenied
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return &dfs.Error{Kind: kind, Op: op, Path: path, Detail: "local file: " + err.Error(), Err: err}
}
