package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/forebay/forebay/system/dfs"
)

// maxDurable bounds the copies of one block; a larger number, which would not fit the protocol's 32 bits in the end, is a
// slip of the finger.
const maxDurable = 100

// check refuses values that cannot work, with their origin. It looks at what a value says, never at the machine: whether a
// folder can be written or a port is free is for the process that needs it, which may run elsewhere.
//
// The first problem in the order of the list is told, InvalidArgument. What is told is masked: a URI with a password can
// stand in any key by mistake.
func (l *Loaded) check() error {
	c := l.Config
	problems := []problem{
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "text", "json"),
		oneOf("master.metadata.store", c.Master.Metadata.Store, "pebble", "heap"),
		address("master.address", c.Master.Address), address("master.journal.address", c.Master.Journal.Address),
		address("worker.address", c.Worker.Address),
		optionalAddress("master.http.address", c.Master.HTTP.Address),
		optionalAddress("worker.http.address", c.Worker.HTTP.Address),
		addresses("client.masters", c.Client.Masters), addresses("worker.masters", c.Worker.Masters),
		when("master.id", c.Master.ID == "" || strings.ContainsAny(c.Master.ID, "=/, "), "want a name without = / , or blanks"),
		peers(c.Master.Peers),
		blockSize("master.block.size", c.Master.Block.Size, false), blockSize("client.block.size", c.Client.Block.Size, true),
		atLeast("master.session.timeout", c.Master.Session.Timeout, time.Second),
		atLeast("master.worker.lost.timeout", c.Master.Worker.Lost.Timeout, time.Second),
		atLeast("worker.heartbeat", c.Worker.Heartbeat, 10*time.Millisecond),
		atLeast("client.timeout", c.Client.Timeout, time.Millisecond),
		atLeast("client.keepalive", c.Client.KeepAlive, 100*time.Millisecond),
		// Written as what must hold: every comparison with NaN, which YAML can say, is false.
		when("worker.watermark.high", !(c.Worker.Watermark.High > 0 && c.Worker.Watermark.High <= 1), "want a share in (0, 1]"),
		when("worker.watermark.low", !(c.Worker.Watermark.Low > 0 && c.Worker.Watermark.Low < c.Worker.Watermark.High),
			"want a share above 0 and below worker.watermark.high"),
		tiers(c.Worker.Tiers),
		when("client.replication.durable", c.Client.Replication.Durable < 1 || c.Client.Replication.Durable > maxDurable,
			fmt.Sprintf("want 1 to %d", maxDurable)),
		parsed("client.readtype", second(dfs.ParseReadType(c.Client.ReadType))),
		parsed("client.writetype", second(dfs.ParseWriteType(c.Client.WriteType))),
	}
	for _, p := range problems {
		if p.why != "" {
			return dfs.Errorf(dfs.InvalidArgument, "configure", l.origin(p.key), "%s: %s", p.key, MaskURI(p.why))
		}
	}
	return nil
}

// problem says why a key's value cannot work; why is empty when it can.
// It says what would be right, since it is shown to whoever wrote the value.
type problem struct{ key, why string }

// when is a problem if bad. why is what would be right.
func when(key string, bad bool, why string) problem {
	if !bad {
		return problem{}
	}
	return problem{key, why}
}

// oneOf holds a value to a few words, in the case in which they are documented.
func oneOf(key, value string, allowed ...string) problem {
	return when(key, !slices.Contains(allowed, value), fmt.Sprintf("%q is none of %s", value, strings.Join(allowed, ", ")))
}

// address holds a value to host:port. An empty host is every interface, and port 0 any free one: both can be meant.
func address(key, value string) problem {
	_, port, err := net.SplitHostPort(value)
	if err == nil { // a port that nobody can listen on would show as a server that is away, after all retries
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return when(key, err != nil, fmt.Sprintf("%q is no address: want host:port, with a port up to 65535", value))
}

// optionalAddress is address for doors that may be left out.
func optionalAddress(key, value string) problem {
	if value == "" {
		return problem{}
	}
	return address(key, value)
}

// addresses holds a list of servers to at least one, all of them well formed: one bad entry would show only when the
// others fail.
// That they answer is not looked at: a client may start before its cluster.
func addresses(key string, values []string) problem {
	if len(values) == 0 {
		return problem{key, "name at least one master as host:port"}
	}
	for _, v := range values {
		if p := address(key, v); p.why != "" {
			return p
		}
	}
	return problem{}
}

// peers checks the form only; that the addresses answer is for the election to find, and that this master is among them for
// its start, which a client with the same file has nothing to do with.
// None at all is no problem: it means a quorum of one.
func peers(values []string) problem {
	for _, v := range values {
		id, where, ok := strings.Cut(v, "=")
		journal, client, both := strings.Cut(where, "/")
		if !ok || id == "" || !both || address("", journal).why != "" || address("", client).why != "" {
			return problem{"master.peers", fmt.Sprintf("%q: want id=journal-address/client-address", v)}
		}
	}
	return problem{}
}

// blockSize refuses sizes of which nothing could be stored. It holds block sizes to whole pages: a page belongs to one
// block. zero says whether 0, "not set", will do.
func blockSize(key string, size Size, zero bool) problem {
	bad := size < dfs.PageSizeBytes || size%dfs.PageSizeBytes != 0
	return when(key, bad && (!zero || size != 0), "want a multiple of 1MiB, a page")
}

// atLeast keeps intervals from turning into busy loops, and timeouts into ones that nothing can meet.
// There is no upper bound: a long time is a choice, and harms nobody by itself.
func atLeast(key string, d, least time.Duration) problem {
	return when(key, d < least, fmt.Sprintf("%v is too short: want %v or more", d, least))
}

// tiers checks the form of the tiers. Their order is the operator's: the first is the one that new pages go to.
func tiers(all []Tier) problem {
	if len(all) == 0 {
		return problem{"worker.tiers", "want at least one tier"}
	}
	for _, t := range all {
		switch {
		case !slices.Contains([]string{"MEM", "SSD", "HDD"}, t.Name):
			return problem{"worker.tiers", fmt.Sprintf("%q is none of MEM, SSD, HDD", t.Name)}
		case t.Dir == "":
			return problem{"worker.tiers", "a tier needs a dir"}
		case t.Capacity < dfs.PageSizeBytes:
			return problem{"worker.tiers", fmt.Sprintf("a capacity of %v holds no page: want 1MiB or more", t.Capacity)}
		}
	}
	return problem{}
}

// parsed passes on what another package's parser thinks of a value.
func parsed(key string, err error) problem {
	if err == nil {
		return problem{}
	}
	return problem{key, dfs.DetailOf(err)}
}

// second picks the error of a parser's results.
func second[T any](_ T, err error) error { return err }
