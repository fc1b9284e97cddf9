package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// parseMode takes octal bits only. Symbolic modes (u+x) depend on the mode before, which only the master could apply in
// one step.
func parseMode(text string) (uint32, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o7777 {
		return 0, dfs.Errorf(dfs.InvalidArgument, "parse mode", text, "want octal permission bits, such as 644")
	}
	return uint32(mode), nil
}

// attributeCommand makes a command that changes attributes of paths; its first argument says how.
func (a *app) attributeCommand(use, short, example string, change func(text string) (client.Attributes, error)) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.MinimumNArgs(2)}
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "everything below directories too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		attributes, err := change(args[0])
		if err != nil {
			return err
		}
		attributes.Recursive = recursive
		return a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return c.SetAttr(ctx, path, attributes)
		})(cmd, args[1:])
	}
	return cmd
}

func (a *app) chmodCommand() *cobra.Command {
	return a.attributeCommand("chmod MODE PATH...", "Change permission bits (octal)", "  forebay fs chmod -R 750 /private",
		func(text string) (client.Attributes, error) {
			mode, err := parseMode(text)
			return client.Attributes{Mode: &mode}, err
		})
}

// chownCommand changes owner and group in one operation: both or none.
func (a *app) chownCommand() *cobra.Command {
	return a.attributeCommand("chown USER[:GROUP] PATH...", "Change the owner", "  forebay fs chown -R ann:research /dataset",
		func(text string) (client.Attributes, error) {
			owner, group, both := strings.Cut(text, ":")
			var change client.Attributes
			if owner != "" {
				change.Owner = &owner
			}
			if both && group != "" {
				change.Group = &group
			}
			if change.Owner == nil && change.Group == nil {
				return change, dfs.Errorf(dfs.InvalidArgument, "chown", text, "want USER, USER:GROUP or :GROUP")
			}
			return change, nil
		})
}

func (a *app) chgrpCommand() *cobra.Command {
	return a.attributeCommand("chgrp GROUP PATH...", "Change the group", "  forebay fs chgrp -R research /dataset",
		func(text string) (client.Attributes, error) { return client.Attributes{Group: &text}, nil })
}

func (a *app) pinCommand(pin bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin PATH...", Short: "Keep cached pages from eviction", Args: cobra.MinimumNArgs(1),
		Long:    "Keep cached pages of files, and of everything below directories, from eviction. Use `fs load` to cache them.",
		Example: "  forebay fs pin /models/current && forebay fs load /models/current",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return c.Pin(ctx, path)
		}),
	}
	if !pin {
		cmd.Use, cmd.Short, cmd.Long, cmd.Example = "unpin PATH...", "Undo pin", "", "  forebay fs unpin /models/old"
		cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return c.Unpin(ctx, path)
		})
	}
	return cmd
}

// ttlCommand takes "0" for none, which time.ParseDuration reads without a unit.
func (a *app) ttlCommand() *cobra.Command {
	var action string
	cmd := a.attributeCommand("setTtl DURATION PATH...", "Give paths a time to live (0: none)",
		"  forebay fs setTtl 72h /scratch/run-17\n  forebay fs setTtl --action free 24h /dataset   # drop cached copies only\n  forebay fs setTtl 0 /scratch/keep",
		func(text string) (client.Attributes, error) {
			ttl, err := time.ParseDuration(text)
			if err != nil || ttl < 0 {
				return client.Attributes{}, dfs.Errorf(dfs.InvalidArgument, "set TTL", text, "want a duration such as 90m or 72h, or 0")
			}
			at, err := dfs.ParseTTLAction(action)
			return client.Attributes{TTL: &ttl, TTLAction: &at}, err
		})
	cmd.Aliases = []string{"set-ttl"}
	cmd.Flags().StringVar(&action, "action", "delete", "what happens at the end: delete, or free the cached copies")
	return cmd
}

// getXattrCommand quotes values: they are bytes. JSON has them in base64, exactly.
func (a *app) getXattrCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "getfattr PATH...", Short: "Print extended attributes", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs getfattr /dataset\n  forebay fs getfattr -n user.origin /dataset",
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "only the attribute of this `name`; an error when there is none")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := &listing{a: a}
		defer out.end()
		return a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			all, err := c.Xattrs(ctx, path)
			if err != nil {
				return err
			}
			if name != "" {
				value, err := c.Xattr(ctx, path, name)
				if err != nil {
					return err
				}
				all = map[string][]byte{name: value}
			}
			info := map[string]any{"path": string(path), "xattr": all}
			return out.add(info, func(w io.Writer) {
				for _, key := range slices.Sorted(maps.Keys(all)) {
					fmt.Fprintf(w, "%s  %s=%q\n", escape(string(path)), escape(key), all[key])
				}
			})
		})(cmd, args)
	}
	return cmd
}

// setXattrCommand checks its flags before it connects: a value may be empty, a name may not.
func (a *app) setXattrCommand() *cobra.Command {
	var name, value, remove string
	cmd := &cobra.Command{
		Use: "setfattr (-n NAME -v VALUE | -x NAME) PATH...", Short: "Set or remove extended attributes", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs setfattr -n user.origin -v sensor-7 /dataset\n  forebay fs setfattr -x user.origin /dataset",
	}
	f := cmd.Flags()
	f.StringVarP(&name, "name", "n", "", "set the attribute of this `name`")
	f.StringVarP(&value, "value", "v", "", "to this `value`")
	f.StringVarP(&remove, "remove", "x", "", "remove the attribute of this `name`")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if (name == "") == (remove == "") {
			return dfs.Errorf(dfs.InvalidArgument, "setfattr", "", "give either -n NAME and -v VALUE, or -x NAME")
		}
		return nil
	}
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		if remove != "" {
			return c.RemoveXattr(ctx, path, remove)
		}
		return c.SetXattr(ctx, path, name, []byte(value), client.XattrAny)
	})
	return cmd
}
