package fidelity

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// machineCPU is what all processes of this machine have used, to a clock tick; 0 where the system does not tell.
func machineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return statBusy(string(b))
}

// statBusy sums what is not idle in the first line of /proc/stat (proc(5)): user, nice, system, irq, softirq and steal. Guests
// are in user already.
func statBusy(text string) time.Duration {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	total := int64(0)
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		total += n
	}
	return time.Duration(total) * 10 * time.Millisecond
}
