package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the kernel's unit of process times (USER_HZ), 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// processCPU is a process's user and system time; 0 when it is gone. A process that has ended and is not yet reaped still has
// its times. A living one has a clock of its own, which is exact to the nanosecond; /proc has whole clock ticks.
func processCPU(pid int) time.Duration {
	const scheduled = 2    // CPUCLOCK_SCHED of the kernel's posix-timers.h: the clock of a whole process
	const maxPID = 1 << 22 // on 64-bit Linux (proc(5)); the clock's id has room for no more than 1 << 28
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); pid > 0 && pid <= maxPID && err == nil {
		return time.Duration(t.Nano())
	}
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
