package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// fsCommand holds the users' commands: looking, reading, copying and changing names, attributes, the cache, mounts.
func (a *app) fsCommand() *cobra.Command {
	fs := &cobra.Command{
		Use:   "fs",
		Short: "Work with files and directories",
		Long: "Work with files and directories. Paths are absolute paths of the namespace: /a/b. Names with control\n" +
			"characters are printed escaped; JSON has them exactly.",
	}
	group(fs, a.lsCommand(), a.statCommand(), a.duCommand(), a.countCommand(), a.testCommand(), a.locationCommand())
	fs.AddCommand(a.catCommand(), a.headCommand(), a.tailCommand(), a.checksumCommand())
	fs.AddCommand(a.putCommand(), a.getCommand(), a.cpCommand(), a.mvCommand(), a.rmCommand(), a.mkdirCommand(), a.touchCommand())
	fs.AddCommand(a.chmodCommand(), a.chownCommand(), a.chgrpCommand(), a.pinCommand(true), a.pinCommand(false), a.ttlCommand())
	fs.AddCommand(a.getXattrCommand(), a.setXattrCommand())
	fs.AddCommand(a.freeCommand(), a.loadCommand(), a.persistCommand())
	fs.AddCommand(a.mountCommand(), a.unmountCommand(), a.mountsCommand())
	return fs
}

// lsCommand lists as entries come: a directory of any size takes constant memory here, and what was printed before an
// error stays printed. Locations are asked for since the share cached is what people look for in a cache.
func (a *app) lsCommand() *cobra.Command {
	var recursive, human, directory bool
	var sync time.Duration
	cmd := &cobra.Command{
		Use: "ls PATH...", Short: "List directories", Args: cobra.MinimumNArgs(1),
		Long: "List directories: mode, owner, group, length, where it is (persistence and share cached), modification\n" +
			"time and path of each entry.",
		Example: "  forebay fs ls /dataset\n  forebay fs ls -R --json / | jq -r '.[].path'\n  forebay fs ls --sync 0s /bucket   # compare with the under store first",
	}
	f := cmd.Flags()
	f.BoolVarP(&recursive, "recursive", "R", false, "list everything below")
	f.BoolVarP(&human, "human", "H", false, "lengths with units")
	f.BoolVarP(&directory, "directory", "d", false, "the directory itself instead of its entries")
	f.DurationVar(&sync, "sync", 0, "compare with the under store what was not compared for this `time`; negative: never")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts := []client.Option{client.WithLocations()}
		if cmd.Flags().Changed("sync") {
			opts = append(opts, client.WithSyncInterval(sync))
		}
		out := &listing{a: a}
		defer out.end()
		show := func(s *dfs.FileStatus) error {
			return out.add(describe(s), func(w io.Writer) { printLong(w, s, human) })
		}
		return a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return list(ctx, c, path, recursive, directory, opts, show)
		})(cmd, args)
	}
	return cmd
}

// list shows path's entries, everything below it, or itself. Unlike du it stops at the first directory that cannot be
// listed: a listing with holes looks whole.
func list(ctx context.Context, c *client.Client, path dfs.Path, recursive, self bool, opts []client.Option, show func(*dfs.FileStatus) error) error {
	if self {
		s, err := c.Stat(ctx, path, opts...)
		if err != nil {
			return err
		}
		return show(s)
	}
	if recursive {
		return c.WalkDir(ctx, path, func(at dfs.Path, s *dfs.FileStatus, err error) error {
			if err != nil || (at == path && s.IsDir()) {
				return err
			}
			return show(s)
		}, opts...)
	}
	for s, err := range c.List(ctx, path, opts...) {
		if err != nil {
			return err
		}
		if err := show(s); err != nil {
			return err
		}
	}
	return nil
}

// printLong prints one line, always: names and owners are escaped, so that lines can be counted and cut.
func printLong(w io.Writer, s *dfs.FileStatus, human bool) {
	where := "dir"
	if !s.IsDir() {
		where = fmt.Sprintf("%s %d%%", s.Persist, cachedShare(s))
		if !s.Completed {
			where = "INCOMPLETE"
		}
	}
	fmt.Fprintf(w, "%s %-10s %-10s %12s %-22s %s  %s\n", modeText(s), escape(s.Owner), escape(s.Group),
		bytesText(s.Length, human), where, s.ModTime.Local().Format("2006-01-02 15:04:05"), escape(string(s.Path)))
}

// cachedShare is a percentage; an empty file has nothing that could be missing.
func cachedShare(s *dfs.FileStatus) int64 {
	if s.Length == 0 {
		return 100
	}
	return 100 * s.CachedBytes / s.Length
}

// statCommand prints one object for each path in JSON, since each has everything about one thing; jq reads them as they come.
func (a *app) statCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stat PATH...", Short: "Tell everything about paths", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs stat /dataset/train.tar\n  forebay fs stat --json /dataset | jq .mountPoint",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			s, err := c.Stat(ctx, path, client.WithLocations())
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(describe(s))
			}
			return a.table("KEY\tVALUE", func(row func(...any)) { statRows(describe(s), row) })
		}),
	}
}

// statRows prints what JSON has, under the same names, for people to look up one in the other.
func statRows(i fileInfo, row func(...any)) {
	for _, pair := range [][2]any{
		{"path", i.Path}, {"type", i.Type}, {"length", i.Length}, {"id", i.ID}, {"version", i.Version},
		{"completed", i.Completed}, {"blockSize", i.BlockSize}, {"mode", i.Mode}, {"owner", i.Owner}, {"group", i.Group},
		{"modTime", i.ModTime.Local().Format(time.RFC3339Nano)}, {"persist", i.Persist}, {"cachedBytes", i.CachedBytes},
		{"pinned", i.Pinned}, {"replication min/max/durable", i.Replication}, {"ttl", i.TTL}, {"ttlAction", i.TTLAction},
		{"mountId", i.MountID}, {"mountPoint", i.MountPoint}, {"ufsPath", i.UfsPath}, {"fingerprint", i.Fingerprint},
		{"xattrs", len(i.Xattr)},
	} {
		row(pair[0], pair[1])
	}
}

// usage is what lies at and below a path.
type usage struct {
	Path        string `json:"path"`
	Files       int64  `json:"files"`
	Directories int64  `json:"directories"`
	Bytes       int64  `json:"bytes"`
	CachedBytes int64  `json:"cachedBytes"`
}

// measure sums up a tree. It fails at what it cannot list, since a sum that leaves something out is wrong.
func measure(ctx context.Context, c *client.Client, path dfs.Path, opts ...client.Option) (usage, error) {
	u := usage{Path: string(path)}
	err := c.WalkDir(ctx, path, func(_ dfs.Path, s *dfs.FileStatus, err error) error {
		switch {
		case err != nil:
			return err
		case s.IsDir():
			u.Directories++
		default:
			u.Files++
			u.Bytes += s.Length
			u.CachedBytes += s.CachedBytes
		}
		return nil
	}, opts...)
	return u, err
}

// duCommand asks for locations, which count has no use for: they make the master look up every block.
func (a *app) duCommand() *cobra.Command {
	var human bool
	cmd := &cobra.Command{
		Use: "du PATH...", Short: "Sum up lengths and cached bytes", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs du -H /dataset /models",
	}
	cmd.Flags().BoolVarP(&human, "human", "H", false, "sizes with units")
	cmd.RunE = a.usageCommand([]client.Option{client.WithLocations()}, func(u usage, w io.Writer) {
		fmt.Fprintf(w, "%14s %14s cached  %s\n", bytesText(u.Bytes, human), bytesText(u.CachedBytes, human), escape(u.Path))
	})
	return cmd
}

func (a *app) countCommand() *cobra.Command {
	return &cobra.Command{
		Use: "count PATH...", Short: "Count directories, files and bytes", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs count /dataset",
		RunE: a.usageCommand(nil, func(u usage, w io.Writer) {
			fmt.Fprintf(w, "%10d dirs %10d files %16d bytes  %s\n", u.Directories, u.Files, u.Bytes, escape(u.Path))
		}),
	}
}

// usageCommand measures each path by itself: a tree that is named twice, or lies in another, counts each time.
func (a *app) usageCommand(opts []client.Option, line func(usage, io.Writer)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		out := &listing{a: a}
		defer out.end()
		return a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			u, err := measure(ctx, c, path, opts...)
			if err != nil {
				return err
			}
			return out.add(u, func(w io.Writer) { line(u, w) })
		})(cmd, args)
	}
}

// testCommand speaks by its exit code alone: 0 or 1, so that it fits a shell's if. A path that cannot exist (below a file)
// is false; an error, such as no master, is neither and has its own code. Several flags must all hold.
func (a *app) testCommand() *cobra.Command {
	tests := map[string]*bool{}
	cmd := &cobra.Command{
		Use: "test [-e|-d|-f|-s|-z] PATH", Short: "Test a path: exit code 0 or 1", Args: cobra.ExactArgs(1),
		Example: "  forebay fs test -f /dataset/_SUCCESS && train\n  forebay fs test -d /dataset || forebay fs mkdir /dataset",
	}
	for name, what := range map[string]string{
		"e": "it exists (the default)", "d": "it is a directory", "f": "it is a file", "s": "it is a file and not empty, or a directory with entries",
		"z": "it is an empty file",
	} {
		tests[name] = cmd.Flags().BoolP(map[string]string{
			"e": "exists", "d": "dir", "f": "file", "s": "some", "z": "zero",
		}[name], name, false, what)
	}
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) error {
		path, err := dfs.ParsePath(args[0])
		if err != nil {
			return err
		}
		s, err := c.Stat(ctx, path)
		switch {
		case dfs.IsKind(err, dfs.NotFound), dfs.IsKind(err, dfs.NotDirectory):
			return errFalse
		case err != nil:
			return err
		}
		some := !s.IsDir() && s.Length > 0
		if s.IsDir() && *tests["s"] {
			for _, err := range c.List(ctx, path) {
				if err != nil {
					return err
				}
				some = true
				break
			}
		}
		holds := map[string]bool{"e": true, "d": s.IsDir(), "f": !s.IsDir(), "s": some, "z": !s.IsDir() && s.Length == 0}
		for name, asked := range tests {
			if *asked && !holds[name] {
				return errFalse
			}
		}
		return nil
	})
	return cmd
}

// locationCommand tells what the master last heard from workers; a block that nobody caches has none. Empty files and
// directories have no blocks.
func (a *app) locationCommand() *cobra.Command {
	type location struct {
		Block   uint32         `json:"block"`
		Workers []dfs.WorkerID `json:"workers"`
	}
	return &cobra.Command{
		Use: "location PATH", Short: "Tell which workers cache a file's blocks", Args: cobra.ExactArgs(1),
		Example: "  forebay fs location /dataset/train.tar",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			blocks, err := c.Locate(ctx, path)
			if err != nil {
				return err
			}
			if a.asJSON() {
				all := make([]location, len(blocks))
				for i, b := range blocks {
					all[i] = location{b.Index, b.Workers}
				}
				return a.printJSON(all)
			}
			return a.table("BLOCK\tWORKERS", func(row func(...any)) {
				for _, b := range blocks {
					row(b.Index, b.Workers)
				}
			})
		}),
	}
}
