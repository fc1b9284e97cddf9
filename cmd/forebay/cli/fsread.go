package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
)

// catCommand goes on with the next file after an error, as cat does; the exit code tells.
func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cat PATH...", Short: "Print files", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs cat /logs/today | grep error",
		RunE: a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			return a.copyOut(ctx, c, path, 0, -1)
		}),
	}
}

// copyOut prints length bytes from offset on (a negative length: all; a negative offset: from the end).
func (a *app) copyOut(ctx context.Context, c *client.Client, path dfs.Path, offset, length int64) error {
	f, err := c.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if offset < 0 {
		offset = max(f.Size()+offset, 0)
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return err
		}
	}
	if length < 0 {
		_, err = f.WriteTo(a.out)
		return err
	}
	_, err = io.Copy(a.out, io.LimitReader(f, length))
	return err
}

func (a *app) headCommand() *cobra.Command {
	var size string
	cmd := &cobra.Command{
		Use: "head PATH...", Short: "Print the beginning of files", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs head -c 4KiB /dataset/train.csv",
	}
	cmd.Flags().StringVarP(&size, "bytes", "c", "1KiB", "how much, as a `size`")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		n, err := sizeFlag(size)
		if err != nil {
			return err
		}
		return a.copyOut(ctx, c, path, 0, n)
	})
	return cmd
}

// tailCommand counts from the length that the file had when it was opened; it does not follow.
func (a *app) tailCommand() *cobra.Command {
	var size string
	cmd := &cobra.Command{
		Use: "tail PATH...", Short: "Print the end of files", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs tail -c 64KiB /logs/today",
	}
	cmd.Flags().StringVarP(&size, "bytes", "c", "1KiB", "how much, as a `size`")
	cmd.RunE = a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
		n, err := sizeFlag(size)
		if err != nil {
			return err
		}
		if n == 0 { // an offset of 0 would be the beginning
			return a.copyOut(ctx, c, path, 0, 0)
		}
		return a.copyOut(ctx, c, path, -n, -1)
	})
	return cmd
}

// newHash offers the checksum that people compare with (sha256sum) and the one that Forebay's pages carry.
func newHash(algorithm string) (hash.Hash, error) {
	switch strings.ToLower(algorithm) {
	case "sha256":
		return sha256.New(), nil
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli)), nil
	}
	return nil, dfs.Errorf(dfs.InvalidArgument, "checksum", algorithm, "want sha256 or crc32c")
}

// checksumCommand reads the bytes as any reader would, through the workers: it tests the whole way, not what some server
// has noted.
func (a *app) checksumCommand() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use: "checksum PATH...", Short: "Print checksums of files' content", Args: cobra.MinimumNArgs(1),
		Example: "  forebay fs checksum /dataset/train.tar\n  forebay fs checksum -a crc32c /dataset/train.tar",
	}
	cmd.Flags().StringVarP(&algorithm, "algorithm", "a", "sha256", "sha256 or crc32c")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := &listing{a: a}
		defer out.end()
		return a.onPaths(func(ctx context.Context, c *client.Client, path dfs.Path) error {
			h, err := newHash(algorithm)
			if err != nil {
				return err
			}
			f, err := c.Open(ctx, path)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }() // only read from
			if _, err := f.WriteTo(h); err != nil {
				return err
			}
			sum := fmt.Sprintf("%x", h.Sum(nil))
			info := map[string]string{"path": string(path), "algorithm": strings.ToLower(algorithm), "checksum": sum}
			return out.add(info, func(w io.Writer) { fmt.Fprintf(w, "%s  %s\n", sum, escape(string(path))) })
		})(cmd, args)
	}
	return cmd
}
