// Package scenarios holds the scenarios that come with the simulator, one readable file each. Package scenario reads them.
package scenarios

import "embed"

// Files are the scenarios.
//
//go:embed *.yaml
var Files embed.FS
