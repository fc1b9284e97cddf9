package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/config"
)

// configCommand shows the configuration as any other command with the same flags, environment and file would have it. Neither of
// its commands needs a cluster.
func (a *app) configCommand() *cobra.Command {
	var origin bool
	show := &cobra.Command{
		Use: "show", Short: "Print every key and its value", Args: cobra.NoArgs,
		Long:    "Print every key and its value as this command line, the environment and the file make it. Secrets are masked.",
		Example: "  forebay config show --origin\n  FOREBAY_CLIENT_TIMEOUT=5s forebay config show --origin --json",
		RunE: func(*cobra.Command, []string) error {
			loaded, err := a.load(nil)
			if err != nil {
				return err
			}
			return a.printSettings(loaded.Settings(), origin)
		},
	}
	show.Flags().BoolVar(&origin, "origin", false, "where each value came from")
	keys := &cobra.Command{
		Use: "keys", Short: "Print every key with its meaning and default", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all := config.Keys()
			if a.asJSON() {
				return a.printJSON(all)
			}
			return a.table("KEY\tDEFAULT\tMEANING", func(row func(...any)) {
				for _, s := range all {
					row(s.Key, s.Value, s.Doc)
				}
			})
		},
	}
	return group(&cobra.Command{Use: "config", Short: "Look at the configuration"}, show, keys)
}

// printSettings prints values as they could be set again. JSON has origins and meanings always: a script picks what it wants.
func (a *app) printSettings(all []config.Setting, origin bool) error {
	if a.asJSON() {
		return a.printJSON(all)
	}
	header := "KEY\tVALUE"
	if origin {
		header += "\tORIGIN"
	}
	return a.table(header, func(row func(...any)) {
		for _, s := range all {
			cells := []any{s.Key, s.Value}
			if origin {
				cells = append(cells, s.Origin)
			}
			row(cells...)
		}
	})
}

// versionCommand names the release, which the linker sets, and the commit, which the toolchain notes: a build of one's own has
// only the latter.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := map[string]string{
				"version": Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "commit": commit(),
			}
			if a.asJSON() {
				return a.printJSON(info)
			}
			a.printf("forebay %s (commit %s, %s, %s)\n", info["version"], info["commit"], info["go"], info["platform"])
			return nil
		},
	}
}

// commit is the commit that this binary was built from, as far as it is known: a test's binary has none, and "modified" means
// that the commit alone does not make this binary.
func commit() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	settings := make(map[string]string)
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	revision, known := settings["vcs.revision"]
	if !known {
		return "unknown"
	}
	if settings["vcs.modified"] == "true" {
		return fmt.Sprintf("%.12s, modified", revision)
	}
	return fmt.Sprintf("%.12s", revision)
}
