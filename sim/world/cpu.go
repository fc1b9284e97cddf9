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
	bytesPerCharge = 1024
)

// DefaultCPU is the model of a request's cost.
// Left out are the cost of the answer's bytes, the client's own work, garbage collection and contention for locks:
// it serves to make queues form at busy nodes, and not to predict a machine's throughput.
func DefaultCPU(method string, bytes int) time.Duration {
	d := callCost
	if strings.HasPrefix(method, blockStreams) {
		d = heartbeatCost
	}
	return d + time.Duration(bytes/bytesPerCharge)*perKiloByte
}
