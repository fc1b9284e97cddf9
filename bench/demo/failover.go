package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// written is one acknowledged write.
type written struct {
	path dfs.Path
	data []byte
	at   time.Time // of the acknowledgement
}

// failover kills the leader with SIGKILL while a writer goes on, and reads back everything that was acknowledged. The writer
// has a second before the kill and four after it: several times what an election takes. The dead leader is started again in
// the end, since a cluster that does not take it back has not survived.
func (d *demo) failover() error {
	leader := d.c.Leader(d.ctx)
	if leader == nil {
		return fmt.Errorf("failover: no leader found")
	}
	d.report.LeaderBefore = leader.Name
	if err := d.client.Mkdir(d.ctx, "/demo"); err != nil {
		return fmt.Errorf("failover: %w", err)
	}
	var acked []written
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		var err error
		acked, err = d.write(&stop)
		done <- err
	}()
	time.Sleep(time.Second) // the writer is at work
	killed := time.Now()
	leader.Kill()
	time.Sleep(4 * time.Second)
	stop.Store(true)
	if err := <-done; err != nil {
		return fmt.Errorf("failover: a write failed: %w", err)
	}
	if err := d.judge(acked, killed); err != nil {
		return err
	}
	if err := leader.Start(); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(d.ctx, 30*time.Second)
	defer cancel()
	return d.c.Ready(ready)
}

// write creates one file after the other, each acknowledged before the next, until it is told to stop. A write that fails
// ends the demo: with two of three masters up, clients may wait and must not see errors.
func (d *demo) write(stop *atomic.Bool) ([]written, error) {
	var acked []written
	for i := 0; !stop.Load(); i++ {
		w := written{path: dfs.Path(fmt.Sprintf("/demo/%06d", i)), data: fmt.Appendf(nil, "record %d of the failover demo\n", i)}
		if err := d.client.WriteFile(d.ctx, w.path, w.data); err != nil {
			return acked, err
		}
		w.at = time.Now()
		acked = append(acked, w)
	}
	return acked, nil
}

// judge reads back everything that was acknowledged, before and after the kill, and finds the longest gap between two
// acknowledgements after it: what an application felt of the failover.
func (d *demo) judge(acked []written, killed time.Time) error {
	after := 0
	for i, w := range acked {
		if w.at.After(killed) {
			after++
		}
		if i > 0 && w.at.After(killed) {
			d.report.FailoverGap = max(d.report.FailoverGap, w.at.Sub(acked[i-1].at))
		}
		got, err := d.client.ReadFile(d.ctx, w.path)
		if err != nil || !bytes.Equal(got, w.data) {
			return fmt.Errorf("failover: %s was acknowledged and now reads %q, %v", w.path, got, err)
		}
	}
	if after == 0 {
		return fmt.Errorf("failover: nothing was written after the leader died")
	}
	d.report.Acknowledged = len(acked)
	next := d.c.Leader(d.ctx)
	if next == nil || next.Name == d.report.LeaderBefore {
		return fmt.Errorf("failover: no new leader")
	}
	d.report.LeaderAfter = next.Name
	d.say("killed leader %s: %s leads, longest gap between writes %d ms, all %d acknowledged files (%d after the kill) are there",
		d.report.LeaderBefore, next.Name, d.report.FailoverGap.Milliseconds(), len(acked), after)
	return nil
}

// table prints the figures side by side. Native reads come from the kernel's cache: the strictest comparison there is.
func (d *demo) table() {
	r := d.report
	row := func(name string, took time.Duration) {
		fmt.Fprintf(d.cfg.Out, "%-22s %8d %10.1f %9.2f %10.1f %10.0f\n", name, r.Files, megabytes(r.Bytes), took.Seconds(),
			megabytes(r.Bytes)/took.Seconds(), float64(r.Files)/took.Seconds())
	}
	fmt.Fprintf(d.cfg.Out, "\n%-22s %8s %10s %9s %10s %10s\n", "read", "files", "MB", "s", "MB/s", "files/s")
	row("native (page cache)", r.Native)
	row("forebay, cold", r.Cold)
	row("forebay, warm", r.Warm)
	fmt.Fprintf(d.cfg.Out, "\nfailover: write gap %d ms, %d acknowledged writes, 0 lost\nall checks held\n", r.FailoverGap.Milliseconds(), r.Acknowledged)
}
