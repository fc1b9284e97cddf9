package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/node"
)

// Version is the release, which the linker sets in package node.
var Version = node.Version

// Streams are a process's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the command. Its methods are called by the command's goroutine, but for those of a transfer: complain is
// then called under the transfer's lock, and a.out is left to the goroutine that prints.
type app struct {
	Streams
	out     *bufio.Writer // of Out; flushed at the end and before waiting for long
	environ []string
	h       host.Host
	flags   globalFlags
	config  *config.Loaded
	client  *client.Client
	started bool // a command runs: errors before that are usage errors
}

// globalFlags are those that every command has. They come before or after the command's name.
type globalFlags struct {
	config  string
	masters []string
	user    string
	output  string
	json    bool
	quiet   bool
	timeout time.Duration
}

// Main runs the command line and returns the exit code. environ is the whole environment that is looked at, as os.Environ gives
// it; args are those after the program's name. The end of ctx is the user's interrupt: Main returns when what was begun has
// been dropped. It reads streams.In only for put; a task that waits for input may outlive it, until the process ends.
func Main(ctx context.Context, args []string, streams Streams, environ []string) int {
	a := &app{Streams: streams, out: bufio.NewWriter(streams.Out), environ: environ, h: host.NewReal()}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(a.out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		_ = a.client.Close() // everything that matters was waited for
	}
	if flushed := a.out.Flush(); err == nil && flushed != nil {
		err = flushed
	}
	return a.exit(err)
}

// root is the tree of commands. Its PersistentPreRunE checks what all have in common, and is where a command begins to run:
// cobra calls it after it has parsed and counted the arguments. No command may have one of its own, which would replace it.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "forebay",
		Short:         "Forebay, a distributed caching file system",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       Version,
		Example: "  forebay up --dir /tmp/forebay                 # a whole cluster in one process, to try it\n" +
			"  forebay fs put -r ./dataset /dataset          # copy files in\n" +
			"  forebay fs ls /dataset\n" +
			"  forebay admin report",
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.flags.json {
				a.flags.output = "json"
			}
			if a.flags.output != "table" && a.flags.output != "json" {
				return dfs.Errorf(dfs.InvalidArgument, "parse flags", "-o "+a.flags.output, "want table or json")
			}
			if a.flags.timeout < 0 {
				return dfs.Errorf(dfs.InvalidArgument, "parse flags", "--timeout", "%v is negative: want a time such as 10s", a.flags.timeout)
			}
			a.started = true
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.flags.config, "config", "", "configuration `file` (default FOREBAY_CONFIG, or "+config.DefaultFile+")")
	f.StringSliceVarP(&a.flags.masters, "master", "m", nil, "`addresses` of the masters (default FOREBAY_MASTERS, or client.masters)")
	f.StringVar(&a.flags.user, "user", "", "act as this `user`")
	f.StringVarP(&a.flags.output, "output", "o", "table", "`form` of listings: table or json")
	f.BoolVar(&a.flags.json, "json", false, "the same as -o json")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "no progress bars")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "give up an operation of the master after this `time` (default client.timeout)")
	root.AddCommand(a.fsCommand(), a.adminCommand(), a.configCommand(), a.versionCommand(), exitCodesTopic())
	root.AddCommand(a.nodeCommands()...)
	return root
}

// group is a command that only holds others. Without Args and RunE of its own cobra would answer an unknown subcommand with
// its help and exit code 0, which a script takes for success.
func group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(commands...)
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		remedy := "see `" + cmd.CommandPath() + " --help`"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			remedy = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return dfs.Errorf(dfs.InvalidArgument, "parse command line", args[0], "%s has no such command: %s", cmd.CommandPath(), remedy)
	}
	return cmd
}

// load resolves the configuration, once. more are flags of a command, by key; a later call's are not looked at. --master names
// the masters for whoever needs them, a client or a worker. An error is one of usage, or of a file that cannot be read.
func (a *app) load(more map[string]config.Flag) (*config.Loaded, error) {
	if a.config != nil {
		return a.config, nil
	}
	flags := make(map[string]config.Flag)
	maps.Copy(flags, more)
	if len(a.flags.masters) > 0 {
		given := config.Flag{Name: "--master", Value: strings.Join(a.flags.masters, ",")}
		flags["client.masters"], flags["worker.masters"] = given, given
	}
	if a.flags.user != "" {
		flags["client.user"] = config.Flag{Name: "--user", Value: a.flags.user}
	}
	if a.flags.timeout > 0 {
		flags["client.timeout"] = config.Flag{Name: "--timeout", Value: a.flags.timeout.String()}
	}
	loaded, err := config.Load(config.Sources{File: a.flags.config, Environ: a.environ, Flags: flags})
	a.config = loaded
	return loaded, err
}

// connect makes the client, once; Main closes it. Nobody is asked yet. The client carries a name with which operators find its
// session in the masters' reports.
func (a *app) connect() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	loaded, err := a.load(nil)
	if err != nil {
		return nil, err
	}
	c := loaded.Config.Client
	readType, err := dfs.ParseReadType(c.ReadType)
	if err != nil {
		return nil, err
	}
	writeType, err := dfs.ParseWriteType(c.WriteType)
	if err != nil {
		return nil, err
	}
	hostname, _ := os.Hostname() // for people who look at sessions; it may be missing
	a.client, err = client.New(client.Config{
		Host: a.h, Masters: c.Masters, Identity: identity(c), Name: "forebay cli on " + hostname,
		Timeout: c.Timeout, KeepAlive: c.KeepAlive, ReadType: readType, WriteType: writeType,
		BlockSizeBytes: int64(c.Block.Size), Replication: int32(c.Replication.Durable), ReadaheadBytes: int64(c.ReadAhead),
	})
	return a.client, err
}

// identity is on whose behalf to act: what is configured, or the process's user and its groups. A configured user without
// groups has none: the process's belong to somebody else. It is a claim; what the cluster makes of it is its affair.
func identity(c config.Client) dfs.Identity {
	id := dfs.Identity{User: c.User, Groups: c.Groups}
	if id.User != "" {
		return id
	}
	me, err := user.Current()
	if err != nil {
		return dfs.Identity{User: "nobody", Groups: c.Groups}
	}
	id.User = me.Username
	if len(id.Groups) > 0 {
		return id
	}
	numbers, _ := me.GroupIds() // without them the user has no groups
	for _, n := range numbers {
		if g, err := user.LookupGroupId(n); err == nil {
			id.Groups = append(id.Groups, g.Name)
		}
	}
	return id
}

// run makes a command's RunE from a function that needs the client.
func (a *app) run(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, args)
	}
}

// onPaths makes a command's RunE that does something for each path, going on after errors, one after the other and in their
// order: what is printed for one is not mixed with that of another.
func (a *app) onPaths(do func(ctx context.Context, c *client.Client, path dfs.Path) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		var failed failures
		for _, text := range args {
			if err := ctx.Err(); err != nil { // interrupted between two paths: what was not begun is not done
				failed.add(a, dfs.Wrap(err, "go on with", text))
				break
			}
			path, err := dfs.ParsePath(text)
			if err == nil {
				err = do(ctx, c, path)
			}
			failed.add(a, err)
		}
		return failed.result()
	})
}

// isTerminal tells whether a stream is one. What a test or another program puts in a stream's place is none.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// failures collects the errors of a command that goes on after each. It keeps the first alone, however many come. Callers that
// share one between goroutines lock.
type failures struct{ first error }

// add prints err, if it is one, and remembers the first.
func (f *failures) add(a *app, err error) {
	if err == nil {
		return
	}
	if f.first == nil {
		f.first = err
	}
	if wasPrinted(err) { // by a part of the command that goes on after errors itself
		return
	}
	_ = a.out.Flush() // so that what was printed before stays before
	a.complain(err)
}

// result is the first error, marked as printed.
func (f *failures) result() error {
	if f.first == nil {
		return nil
	}
	return printed{f.first}
}

// printed is an error that the user has seen.
type printed struct{ error }

// Unwrap gives the error.
func (p printed) Unwrap() error { return p.error }

func wasPrinted(err error) bool {
	var p printed
	return errors.As(err, &p)
}
