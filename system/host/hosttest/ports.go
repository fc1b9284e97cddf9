package hosttest

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for tests lie below the kernel's ephemeral range, so that no outgoing connection takes one between the moment
// when it was found free and the moment when a server binds it, or while that server is down on purpose.
const (
	lowestPort  = 10_000
	highestPort = 32_000
	portTries   = 200
)

// FreePorts finds n adjacent TCP ports on loopback that are free now, and returns the first.
func FreePorts(n int) (int, error) {
	for range portTries {
		base := lowestPort + rand.IntN(highestPort-lowestPort-n)
		if allFree(base, n) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d adjacent free ports between %d and %d", n, lowestPort, highestPort)
}

func allFree(base, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
		if err != nil {
			return false
		}
		_ = l.Close() // nothing was accepted
	}
	return true
}
