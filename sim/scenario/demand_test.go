package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestShuffled: each epoch's order has every file once, and is neither that of another epoch nor the files' own.
func TestShuffled(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1000, 1 << 12, 5000} {
		orders := map[string]bool{}
		for epoch := range uint64(3) {
			var order []int
			for i := range n {
				order = append(order, shuffled(i, n, epoch))
			}
			orders[fmt.Sprint(order)] = true
			if n >= 1000 && slices.IsSorted(order[:20]) {
				t.Errorf("%d files, epoch %d: %v...", n, epoch, order[:20])
			}
			if slices.Sort(order); order[0] != 0 || len(slices.Compact(order)) != n || order[n-1] != n-1 {
				t.Fatalf("%d files: epoch %d does not have each once", n, epoch)
			}
		}
		if n >= 1000 && len(orders) != 3 {
			t.Errorf("%d files: three epochs have %d orders", n, len(orders))
		}
	}
}

// usersOf are the clients of a scenario that is not run.
func usersOf(s *Scenario) (users []*user) {
	for i, g := range s.groups() {
		for number := range g.clients {
			users = append(users, &user{r: &run{s: s}, group: g, number: number, rng: rand.New(rand.NewPCG(uint64(i), uint64(number)))})
		}
	}
	return users
}

// TestEpochs: the clients of a group take each file once before any comes again.
func TestEpochs(t *testing.T) {
	s := &Scenario{Clients: 7, Files: 21, Order: orderEpochs}
	users := usersOf(s)
	taken := make([]int, s.Files)
	for epoch := 1; epoch <= 4; epoch++ {
		for range s.Files / s.Clients {
			for _, u := range users {
				i, ok := u.shared()
				if !ok {
					t.Fatal("no file")
				}
				taken[i]++
			}
		}
		if slices.Min(taken) != epoch || slices.Max(taken) != epoch {
			t.Fatalf("after %d epochs files were taken %v times", epoch, taken)
		}
	}
}

// TestHot: the share is kept, within what chance allows.
func TestHot(t *testing.T) {
	s := &Scenario{Clients: 1, Files: 1000, Hot: Hot{Files: 3, Share: 0.8}}
	u := usersOf(s)[0]
	hot := 0
	for range 10_000 {
		if i, _ := u.shared(); i < 3 {
			hot++
		}
	}
	if hot < 7800 || hot > 8200 {
		t.Errorf("%d of 10,000 were hot, want about 8,000", hot)
	}
}

// TestGroupsShareClients: every client is in a group, every group has one, and weights are kept.
func TestGroupsShareClients(t *testing.T) {
	for _, c := range []struct {
		clients int
		weights []int
		want    []int
	}{{100, []int{1, 3}, []int{25, 75}}, {3, []int{1000, 1, 1}, []int{1, 1, 1}}, {10, []int{1, 1, 1}, []int{3, 4, 3}}, {2, []int{1, 1000}, []int{1, 1}}} {
		s := &Scenario{Clients: c.clients}
		for _, w := range c.weights {
			s.Groups = append(s.Groups, Group{Weight: w})
		}
		var got []int
		for _, g := range s.groups() {
			got = append(got, g.clients)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d clients by %v: %v, want %v", c.clients, c.weights, got, c.want)
		}
	}
}

// TestBatches: pauses come after a batch, and are as much longer.
func TestBatches(t *testing.T) {
	u := usersOf(&Scenario{Clients: 1, Rate: 2, Batch: 10})[0]
	total := time.Duration(0)
	for n := 1; n <= 10_000; n++ {
		d := u.pause(n)
		if (n%10 == 0) != (d > 0) {
			t.Fatalf("after operation %d a pause of %v", n, d)
		}
		total += d
	}
	if total < 4500*time.Second || total > 5500*time.Second {
		t.Errorf("10,000 operations at 2 a second have pauses of %v", total)
	}
}

// TestBadDemands: what cannot be is refused with its key, and everything at once.
func TestBadDemands(t *testing.T) {
	const base = "workers: 1\nclients: 4\nduration: 1s\nfiles: 10\n"
	const good = base + "rate: 1\nmix: {stat: 1}\n"
	for text, want := range map[string]string{
		good + "batch: -1\n":                                                                    "batch is -1",
		good + "order: sorted\n":                                                                `order is "sorted"`,
		good + "hot: {files: 11, share: 0.5}\n":                                                 "hot.files is 11",
		good + "hot: {files: 1}\n":                                                              "a share of 0",
		good + "hot: {files: 1, share: 1.5}\n":                                                  "a share of 1.5",
		good + "order: epochs\nhot: {files: 1, share: 0.5}\n":                                   "hot means nothing",
		good + "hot: {file: 1}\n":                                                               "field file",
		good + "tables: {count: 1}\n":                                                           "tables.size is 0",
		good + "tables: {count: -1, size: 1MiB}\n":                                              "tables.count",
		good + "blocks: -3\n":                                                                   "blocks is -3",
		good + "store: {model: tape}\n":                                                         `store.model is "tape"`,
		good + "store: {errorRate: 2}\n":                                                        "error rate",
		good + "store: {requests: -1}\n":                                                        "store.requests",
		good + "faults: [{at: 0s, kind: brownout}]\n":                                           "a brownout without them is none",
		good + "faults: [{at: 0s, kind: brownout, slow: 0.5}]\n":                                "slow by 0.5",
		good + "faults: [{at: 0s, kind: outage, errors: 0.5}]\n":                                "are for brownout",
		base + "groups: [{weight: 0, rate: 1, mix: {stat: 1}}]\n":                               "group 1: weight",
		base + "groups: [{weight: 1, rate: 0, mix: {sing: 1}}]\n":                               "group 1: rate",
		base + "rate: 1\ngroups: [{weight: 1, rate: 1, mix: {stat: 1}}]\n":                      "rate belongs into the groups",
		base + "mix: {stat: 1}\ngroups: [{weight: 1, rate: 1, mix: {stat: 1}}]\n":               "mix belong into the groups",
		base + "groups: [" + strings.Repeat("{weight: 1, rate: 1, mix: {stat: 1}},", 5) + "]\n": "number of groups is 5",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
	_, err := Parse([]byte(base + "groups: [{weight: 0, rate: 0, batch: -1, mix: {sing: 1}}]\n"))
	for _, want := range []string{"weight", "rate", "batch", "sing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
}
