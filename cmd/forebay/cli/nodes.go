package cli

import "github.com/spf13/cobra"

// nodeCommands run the roles of a cluster.
func (a *app) nodeCommands() []*cobra.Command { return nil }
