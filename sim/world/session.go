package world

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// session is one established connection: a client's life talking to a server's life, with all calls between them. It ends
// with either life, when the peer is not reached for long, or when the client closes it.
type session struct {
	client   *Node
	server   *server
	lives    [2]int // of the two nodes when it was made
	c2s, s2c *pipe
	calls    []*call // open ones, in the order in which they began
	ended    bool    // the client begins no more calls on it
	gone     bool    // neither end knows it any more
}

// connect makes the connection at both ends at once: the round trip that it takes was waited for by conn.connect.
func (n *Net) connect(client *Node, s *server) *session {
	x := &session{client: client, server: s, lives: [2]int{client.life, s.node.life},
		c2s: &pipe{net: n, from: client.nic, to: s.node.nic}, s2c: &pipe{net: n, from: s.node.nic, to: client.nic}}
	n.sessions = append(n.sessions, x)
	return x
}

// between tells whether the connection uses the way from one node to another, in either role.
func (x *session) between(from, to string) bool {
	c, s := x.client.name, x.server.node.name
	return c == from && s == to || c == to && s == from
}

// The two lives end a session's use at one end: what a new life of the node does has nothing to do with it.

func (x *session) clientLives() bool { return x.client.life == x.lives[0] && x.client.Alive() }
func (x *session) serverLives() bool {
	return x.server.node.life == x.lives[1] && x.server.node.Alive()
}

func (x *session) add(k *call) { x.calls = append(x.calls, k) }

// remove takes off a call that ended at its client. The server may still serve it: server.open knows those.
func (x *session) remove(k *call) {
	if i := slices.Index(x.calls, k); i >= 0 {
		x.calls = slices.Delete(x.calls, i, i+1)
	}
}

// close forgets the connection and what flies on it.
// It tells no call: the caller sees to both ends, by fail and cancel.
func (x *session) close(n *Net) {
	x.ended, x.gone = true, true
	x.c2s.closed, x.s2c.closed = true, true
	if i := slices.Index(n.sessions, x); i >= 0 {
		n.sessions = slices.Delete(n.sessions, i, i+1)
	}
}

// broke ends the connection at both ends now, each of which has found out by itself.
func (x *session) broke(why string) {
	if x.gone {
		return
	}
	x.close(x.client.w.Net)
	x.fail(why)
	x.cancel()
}

// fail ends all calls at the client.
// They are Unavailable: whether they took effect is open, and a caller may repeat only what is safe to repeat.
func (x *session) fail(why string) {
	if !x.clientLives() {
		return
	}
	err := status.Error(codes.Unavailable, fmt.Sprintf("connection to %s: %s", x.server.addr, why))
	for _, k := range slices.Clone(x.calls) { // finishing takes them off
		k.finish(err, nil)
	}
}

// cancel ends all calls at the server, also those which the client has given up already: its word of that may have been
// lost with the connection.
func (x *session) cancel() {
	if !x.serverLives() {
		return
	}
	for _, k := range slices.Clone(x.server.open) {
		if k.x == x {
			k.cancelServer()
		}
	}
}

// reset ends the connections of a node that has just died. Its machine still answers, so peers hear of it after the time
// that a message takes, unless the way is cut: then their keep-alive must find out.
func (n *Net) reset(dead *Node) {
	for _, x := range slices.Clone(n.sessions) {
		isClient := x.client == dead
		if !isClient && x.server.node != dead {
			continue
		}
		from, to := x.c2s.from, x.c2s.to
		if !isClient {
			from, to = to, from
		}
		x.c2s.closed, x.s2c.closed = true, true
		tell := func() {
			if x.gone {
				return
			}
			x.close(n)
			if isClient {
				x.cancel()
			} else {
				x.fail("reset by peer")
			}
		}
		if n.isCut(from, to) {
			n.w.Sched.After(brokenAfter, tell)
			continue
		}
		n.w.Sched.After(time.Duration(n.latency(from, to)), tell)
	}
}
