package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/forebay/forebay/bench/cluster"
	"github.com/forebay/forebay/system/client"
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/host"
)

// This file is about disks that take nothing: full ones and read-only ones, of real processes.

// small mounts a small file system on dir; only root can.
func small(t *testing.T, dir string, megabytes int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		if os.Getuid() == 0 && os.Getenv("CI") != "" {
			t.Logf("root cannot mount a tmpfs here: %v", err)
		}
		t.Skipf("a full disk needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// TestFullDiskOfAWorker: a write that finds no room is refused with the reason, and what was acknowledged stays.
func TestFullDiskOfAWorker(t *testing.T) {
	dir := t.TempDir()
	tiers := filepath.Join(dir, "tiers")
	small(t, tiers, 24)
	under := filepath.Join(dir, "under")
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: 1, Capacity: "1GiB", RootURI: under, TierDir: tiers})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ready(t, c)
	cl := connect(t, c)
	ctx := context.Background()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	acked := 0
	for i := range 12 {
		err = cl.WriteFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), data, client.WithWriteType(dfs.WriteMustCache))
		if err != nil {
			break
		}
		acked++
	}
	if err == nil {
		t.Fatal("48 MiB fit on a disk of 24 MiB")
	}
	if k := dfs.KindOf(err); k != dfs.NoSpace && k != dfs.ResourceExhausted {
		t.Errorf("a full disk: %v", err)
	}
	for i := range acked {
		if got, err := cl.ReadFile(ctx, dfs.Path(fmt.Sprintf("/f%d", i))); err != nil || !bytes.Equal(got, data) {
			t.Errorf("acknowledged file %d: %d bytes, %v", i, len(got), err)
		}
	}
	for i := range acked {
		if err := cl.Remove(ctx, dfs.Path(fmt.Sprintf("/f%d", i)), client.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "write after room was made", func() error {
		return cl.WriteFile(ctx, "/again", data, client.WithWriteType(dfs.WriteMustCache), client.WithOverwrite())
	})
	noPanics(t, c)
}

// TestFullDiskOfAMaster: changes are refused with the reason while the disk is full, reads go on, and it heals by itself
// when there is room again. Nothing acknowledged is lost.
func TestFullDiskOfAMaster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	small(t, dir, 200)
	c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: 1, Capacity: "16MiB"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ready(t, c)
	cl := connect(t, c)
	ctx := context.Background()
	mkdir := func(i int) error {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		// Long names fill the log.
		return cl.Mkdir(short, dfs.Path(fmt.Sprintf("/%06d-%s", i, strings.Repeat("n", 200))))
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for {
		if _, err := f.Write(chunk); err != nil {
			break
		}
	}
	_ = f.Close()
	acked, refused := []int{}, 0
	var refusal error
	for i := 0; i < 400_000 && refused < 1; i += 2000 { // preallocated segments are used up first
		g := host.NewGroup(host.NewReal(), 0)
		errs := make([]error, 2000)
		for j := range errs {
			_ = g.Go(ctx, "mkdir", func() error { errs[j] = mkdir(i + j); return nil })
		}
		_ = g.Wait(ctx)
		failed := false
		for j, err := range errs {
			if err == nil {
				acked = append(acked, i+j)
			} else {
				failed, refusal = true, err
			}
		}
		if failed {
			refused++
		}
		if !c.Nodes("master")[0].Running() {
			break
		}
	}
	if refusal == nil && c.Nodes("master")[0].Running() {
		t.Fatal("the disk is full and every change is acknowledged")
	}
	t.Logf("%d acknowledged; then: %.400v; the master runs: %v", len(acked), refusal, c.Nodes("master")[0].Running())
	if refusal != nil && !strings.Contains(refusal.Error(), "no space") {
		t.Errorf("the refusal does not say why: %v", refusal)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if n := c.Nodes("master")[0]; !n.Running() {
		t.Errorf("the master ended on a full disk:\n%s", n.Log(15))
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(60 * time.Second)
	for i := 1_000_000; mkdir(i) != nil; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("there is room again and changes are still refused:\n%s", c.Nodes("master")[0].Log(10))
		}
		time.Sleep(100 * time.Millisecond)
	}
	names := map[string]bool{}
	for s, err := range cl.List(ctx, "/") {
		if err != nil {
			t.Fatal(err)
		}
		names[s.Name] = true
	}
	for _, i := range acked {
		if !names[fmt.Sprintf("%06d-%s", i, strings.Repeat("n", 200))] {
			t.Fatalf("acknowledged directory %d is lost", i)
		}
	}
	noPanics(t, c)
}

// readOnly makes a small file system refuse writes, as a disk does after errors.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatalf("make %s read-only (something has a file open for writing?): %v", dir, err)
	}
}

// writable ends readOnly.
func writable(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
}

// image mounts a disk of its own on dir, made of a file. fail makes it read-only at once, as a disk does that the kernel
// gave up; repair is what an operator does then.
func image(t *testing.T, dir string, megabytes int) (fail, repair func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	command := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
		}
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(dir, 0o755))
	must(os.WriteFile(file, nil, 0o600))
	must(os.Truncate(file, int64(megabytes)<<20))
	err := command("mkfs.ext4", "-q", file)
	if err == nil {
		err = command("mount", "-o", "loop", file, dir)
	}
	if err != nil {
		t.Skipf("a failing disk needs ext4, loop devices and the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	fail = func() { must(command("mount", "-o", "remount,abort", dir)) }
	repair = func() {
		must(command("umount", dir))
		_ = command("e2fsck", "-p", file) // its status tells that it repaired something
		must(command("mount", "-o", "loop", file, dir))
	}
	return fail, repair
}

// TestReadOnlyDiskOfAWorker: when the disk of a running worker turns read-only, what it holds is still served, files of the
// under store are read all the same, new data is refused with the reason, and a repaired disk takes it.
func TestReadOnlyDiskOfAWorker(t *testing.T) {
	dir := t.TempDir()
	tiers, under := filepath.Join(dir, "tiers"), filepath.Join(dir, "under")
	fail, repair := image(t, tiers, 96)
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	if err := os.WriteFile(filepath.Join(under, "cold"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: 1, Capacity: "48MiB", RootURI: under, TierDir: tiers})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ready(t, c)
	cl := connect(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := cl.WriteFile(ctx, "/warm", data, client.WithWriteType(dfs.WriteMustCache)); err != nil {
		t.Fatal(err)
	}
	fail()
	err = cl.WriteFile(ctx, "/refused", data, client.WithWriteType(dfs.WriteMustCache))
	if err == nil {
		t.Fatal("a write to a read-only disk was acknowledged")
	}
	if !strings.Contains(err.Error(), "read-only") {
		t.Errorf("the refusal does not say why: %v", err)
	}
	for _, p := range []dfs.Path{"/warm", "/cold"} {
		if got, err := cl.ReadFile(ctx, p); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %s with a read-only cache: %d bytes, %v", p, len(got), err)
		}
	}
	noPanics(t, c)
	worker := c.Nodes("worker")[0]
	worker.Kill()
	repair()
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "write to the repaired disk", func() error {
		return cl.WriteFile(ctx, "/again", data, client.WithWriteType(dfs.WriteMustCache), client.WithOverwrite())
	})
	noPanics(t, c)
}

// TestReadOnlyDiskOfAMaster: when the disk of a running master turns read-only, changes are refused with the reason,
// the master lets others lead and says why; after the repair all that was acknowledged is there.
func TestReadOnlyDiskOfAMaster(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "m1")
	fail, repair := image(t, disk, 256)
	c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: 1, Capacity: "16MiB"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ready(t, c)
	cl := connect(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	mkdir := func(i int) error {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return cl.Mkdir(short, dfs.Path(fmt.Sprintf("/d%d", i)))
	}
	for i := range 50 {
		if err := mkdir(i); err != nil {
			t.Fatal(err)
		}
	}
	fail()
	master := c.Nodes("master")[0]
	if err := mkdir(50); err == nil {
		t.Error("a change on a read-only disk was acknowledged")
	} else if said := err.Error() + master.Log(20); !strings.Contains(said, "read-only") {
		t.Errorf("neither the refusal nor the log says why: %v\n%s", err, master.Log(20))
	}
	short, cancelStat := context.WithTimeout(ctx, 3*time.Second)
	defer cancelStat()
	if _, err := cl.Stat(short, "/d7"); err != nil && !strings.Contains(err.Error(), "read-only") {
		t.Errorf("the one master gave up leading and does not say why: %v", err)
	}
	noPanics(t, c)
	master.Kill()
	repair()
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	for i := range 50 {
		if _, err := cl.Stat(ctx, dfs.Path(fmt.Sprintf("/d%d", i))); err != nil {
			t.Errorf("acknowledged directory %d: %v", i, err)
		}
	}
	eventually(t, "change on the repaired disk", func() error { return mkdir(60) })
	noPanics(t, c)
}

// eventually polls until f succeeds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// startAndEnd starts a node that must end by itself with an error, and returns what it said.
func startAndEnd(t *testing.T, role, config string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, role, "--config", config)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the %s started, or hangs: %v\n%s", role, err, out)
	}
	return string(out)
}

// TestReadOnlyDiskAtStart: a node whose disk takes nothing says so and ends, and starts with all its data when it does.
func TestReadOnlyDiskAtStart(t *testing.T) {
	for _, role := range []string{"master", "worker"} {
		t.Run(role, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "disk")
			small(t, dir, 200)
			c, err := cluster.Start(cluster.Config{Binary: binary, Dir: dir, Masters: 1, Workers: 1, Capacity: "16MiB"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ready(t, c)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if err := connect(t, c).Mkdir(ctx, "/kept"); err != nil {
				t.Fatal(err)
			}
			for _, n := range append(c.Nodes("master"), c.Nodes("worker")...) {
				n.Kill()
			}
			readOnly(t, dir)
			n := c.Nodes(role)[0]
			out := startAndEnd(t, role, filepath.Join(dir, n.Name+".yaml")) // its log would lie on the same disk
			if !strings.Contains(out, "read-only") || !strings.Contains(out, dir) {
				t.Errorf("a %s on a read-only disk says:\n%s", role, out)
			}
			writable(t, dir)
			for _, n := range append(c.Nodes("master"), c.Nodes("worker")...) {
				if err := n.Start(); err != nil {
					t.Fatal(err)
				}
			}
			ready(t, c)
			if _, err := connect(t, c).Stat(ctx, "/kept"); err != nil {
				t.Errorf("what was acknowledged before: %v", err)
			}
			noPanics(t, c)
		})
	}
}
