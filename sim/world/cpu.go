package world

import (
	"strings"
	"time"
)

// What requests cost a core, until a calibration of the real binaries says it better. Source: results/first-slice of
// 2026-11-25, server CPU of a coalesced status with its share of the message, and DESIGN section 14 for a byte of data.
const (
	callCost       = 40 * time.Microsecond // a message over gRPC
	perKiloByte    = 1200 * time.Nanosecond
	heartbeatCost  = 60 * time.Microsecond
	blockStreams   = "/forebay.v1.Blocks/"
	dataStreams    = "/forebay.v1.Data/"
	registerStream = blockStreams + "Register"
	bytesPerCharge = 1024

	// registerPerKiloByte is for lists of files of one block, 14 bytes each: decoding them and putting them into a block map of
	// 20 million. Files of more blocks cost less a block, and more a byte: with 16 it is five times this. Source: BenchmarkTakeBatch
	// of system/master on 2026-11-25, 0.70 us a block, on a machine that was busy otherwise.
	registerPerKiloByte = 50 * time.Microsecond
)

// DefaultCPU is the model of a request's cost.
// Left out are the cost of the answer's bytes, the client's own work, garbage collection and contention for locks:
// it serves to make queues form at busy nodes, and not to predict a machine's throughput.
func DefaultCPU(method string, bytes int) time.Duration {
	d := callCost
	if method == registerStream {
		return heartbeatCost + time.Duration(bytes)*registerPerKiloByte/bytesPerCharge
	}
	if strings.HasPrefix(method, blockStreams) {
		d = heartbeatCost
	}
	return d + time.Duration(bytes/bytesPerCharge)*perKiloByte
}

// chargeMessage charges a message that a stream's handler has taken, before the handler sees it: it waits for a core behind
// other requests, and what follows it on its stream waits behind it. Messages of the data service are left out, which are
// many and whose cost is their bytes': their opening is charged as a call.
func (k *call) chargeMessage() error {
	n := k.x.server.node
	if n.w.CPU == nil || n.w.Costs != nil || strings.HasPrefix(k.method, dataStreams) {
		return nil
	}
	return n.Compute(k.server, n.w.CPU(k.method, k.fromClient.last))
}
