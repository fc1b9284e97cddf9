package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// mountCommand passes options on as they are: which exist is the under store's to say. An option without "=" is quoted up
// to nothing but its name, since what follows may be a secret.
func (a *app) mountCommand() *cobra.Command {
	var m client.Mount
	var options []string
	cmd := &cobra.Command{
		Use: "mount PATH URI", Short: "Add an under store to the namespace", Args: cobra.ExactArgs(2),
		Example: "  forebay fs mount /nfs file:///mnt/nfs\n" +
			"  forebay fs mount --read-only -O endpoint=http://127.0.0.1:9000 -O access_key=K -O secret_key=S /bucket s3://bucket/prefix",
	}
	f := cmd.Flags()
	f.BoolVar(&m.ReadOnly, "read-only", false, "refuse every change below it")
	f.BoolVar(&m.Shared, "shared", false, "every user may see the mount")
	f.StringArrayVarP(&options, "option", "O", nil, "`key=value` for the under store; may be repeated")
	f.DurationVar(&m.SyncInterval, "sync", -1, "compare metadata older than this `time` with the under store; negative: never, 0s: at every access")
	cmd.RunE = a.run(func(ctx context.Context, c *client.Client, args []string) (err error) {
		if m.Path, err = dfs.ParsePath(args[0]); err != nil {
			return err
		}
		m.URI, m.Options = args[1], make(map[string]string)
		for _, option := range options {
			key, value, ok := strings.Cut(option, "=")
			if !ok || key == "" {
				return dfs.Errorf(dfs.InvalidArgument, "mount", string(m.Path), "an option is key=value, not %q", key)
			}
			m.Options[key] = value
		}
		return c.Mount(ctx, m)
	})
	return cmd
}

func (a *app) unmountCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unmount PATH...", Aliases: []string{"umount"}, Short: "Remove mounts from the namespace", Args: cobra.MinimumNArgs(1),
		Long:    "Remove mounts from the namespace. Under stores stay as they are.",
		Example: "  forebay fs unmount /bucket",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return c.Unmount(ctx, path)
		}),
	}
}

// mountInfo is a mount as JSON has it.
type mountInfo struct {
	Path         string            `json:"path"`
	URI          string            `json:"uri"`
	ID           uint64            `json:"id"`
	ReadOnly     bool              `json:"readOnly"`
	Shared       bool              `json:"shared"`
	SyncInterval string            `json:"syncInterval"`
	Options      map[string]string `json:"options,omitempty"`
}

// mountsCommand shows options as the master gives them, with secrets masked there.
func (a *app) mountsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "mounts", Short: "List the mounts", Args: cobra.NoArgs, Example: "  forebay fs mounts --json",
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			mounts, err := c.Mounts(ctx)
			if err != nil {
				return err
			}
			infos := make([]mountInfo, len(mounts))
			for i, m := range mounts {
				infos[i] = mountInfo{string(m.Path), m.URI, uint64(m.ID), m.ReadOnly, m.Shared, syncText(m.SyncInterval), m.Options}
			}
			if a.asJSON() {
				return a.printJSON(infos)
			}
			return a.table("PATH\tUNDER STORE\tID\tREAD-ONLY\tSHARED\tSYNC", func(row func(...any)) {
				for _, m := range infos {
					row(m.Path, m.URI, m.ID, m.ReadOnly, m.Shared, m.SyncInterval)
				}
			})
		}),
	}
}

// syncText is the interval as the flag --sync takes it; all negative ones mean never.
func syncText(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return d.String()
}
