package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the kernel's unit of process times (USER_HZ), 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// processCPU reads a process's user and system time from /proc; 0 when it is gone. A process that has ended and is not yet
// reaped still has its times.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return statCPU(string(b))
}

// statCPU takes the times from the text of /proc/PID/stat. The command's name, which anybody may choose, may hold spaces and
// parentheses: fields are counted from the last closing one (proc(5): utime is field 14, stime 15). Other text is 0.
func statCPU(text string) time.Duration {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

// OwnCPU is this process's user and system time so far, of all its threads, without its children. Differences of it are what a measurement used, and what else this process did meanwhile.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
