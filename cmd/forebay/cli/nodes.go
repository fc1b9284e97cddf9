package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/config"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
	"github.com/forebay/forebay/system/metrics"
	"github.com/forebay/forebay/system/node"
)

// nodeCommands run the roles of a cluster, in the foreground: what keeps them running, and starts them again, is the machine's
// supervisor.
func (a *app) nodeCommands() []*cobra.Command {
	return []*cobra.Command{
		a.upCommand(),
		a.roleCommand("master", "Run a master", node.RunMaster,
			"  forebay master --config /etc/forebay/forebay.yaml\n"+
				"  FOREBAY_MASTER_JOURNAL_DIR=/fast/journal forebay master --set master.address=10.0.0.1:19998"),
		a.roleCommand("worker", "Run a worker", node.RunWorker,
			"  forebay worker --config /etc/forebay/forebay.yaml\n"+
				"  forebay worker --set worker.tiers=MEM:/dev/shm/forebay:8GiB,SSD:/ssd/forebay:200GiB"),
	}
}

// logger logs to standard error as the configuration says.
func (a *app) logger(c *config.Config) (*slog.Logger, error) {
	return metrics.NewLogger(a.Err, c.Log.Level, c.Log.Format)
}

// runRole runs a role until ctx ends, which is a clean stop and no error.
type runRole func(ctx context.Context, h host.Host, cfg *config.Config, log *slog.Logger) error

// roleCommand runs one process of a cluster until it is told to stop.
func (a *app) roleCommand(name, short string, run runRole, example string) *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use: name, Short: short, Example: example, Args: cobra.NoArgs,
		Long: short + " until SIGINT or SIGTERM. Keys come from the file, FOREBAY_* variables and --set, in that order;\n" +
			"'forebay config show --origin' lists them all.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags, err := settings(set)
			if err != nil {
				return err
			}
			loaded, err := a.load(flags)
			if err != nil {
				return err
			}
			log, err := a.logger(loaded.Config)
			if err != nil {
				return err
			}
			return run(cmd.Context(), a.h, loaded.Config, log)
		},
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "set a configuration `key=value`; may be repeated")
	return cmd
}

// settings reads --set flags. Of two for one key the last wins. Whether a key exists, and takes the value, is told when the
// configuration is loaded, as for a file's.
func settings(set []string) (map[string]config.Flag, error) {
	flags := make(map[string]config.Flag)
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, dfs.Errorf(dfs.InvalidArgument, "read --set", s, "want key=value; 'forebay config show' lists the keys")
		}
		flags[key] = config.Flag{Name: "--set", Value: value}
	}
	return flags, nil
}

// upCommand runs a whole cluster in this process. It takes no configuration file: what its nodes need follows from --dir, so
// that the same --dir is the same cluster. Its log goes to standard error, what users need to know to standard output.
func (a *app) upCommand() *cobra.Command {
	cfg := node.UpConfig{}
	level := ""
	cmd := &cobra.Command{
		Use: "up", Short: "Run a whole cluster in one process, to try it", Args: cobra.NoArgs,
		Long: "Runs masters and workers in this process, on loopback, with a directory of --dir mounted at / as their under\n" +
			"store, and says how to use them. Ctrl-C stops it; the same --dir finds everything again.",
		Example: "  forebay up --dir /tmp/forebay\n  forebay up --dir /tmp/forebay --masters 3 --workers 2",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Dir == "" {
				return dfs.Errorf(dfs.InvalidArgument, "start cluster", "", "name a folder for its state with --dir")
			}
			log, err := metrics.NewLogger(a.Err, level, "text")
			if err != nil {
				return err
			}
			cfg.Log, cfg.Out = log, a.Out
			return node.Up(cmd.Context(), a.h, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "dir", "", "`folder` of all state; it is made if missing")
	f.IntVar(&cfg.Masters, "masters", 0, "1, 3 or 5 (default: as before, or 1)")
	f.IntVar(&cfg.Workers, "workers", 0, "how many workers (default: as before, or 1)")
	f.IntVar(&cfg.Port, "port", 0, fmt.Sprintf("port of the first master, others follow (default: as before, or %d)", node.DefaultPort))
	f.StringVar(&cfg.Capacity, "capacity", "", "cache of each worker (default: as before, or 4GiB)")
	f.StringVar(&level, "log", "warn", "least level of log lines: debug, info, warn or error")
	return cmd
}
