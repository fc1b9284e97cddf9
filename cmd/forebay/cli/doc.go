// Package cli is the forebay command: it reads arguments and configuration, calls package client (for users), the Admin
// service (for operators) or package node (to run a role), and prints. It owns the forms of output, the exit codes and
// the handling of local files. It has no logic of the file system. Command forebay is its only caller; tests run it within
// their own process, which is why it has no state outside of app and never ends the process.
//
// # The life of a command
//
// Main makes one app, which lives for one command line. Cobra finds the command and checks its arguments and flags; errors up
// to there are usage errors, whatever library they come from (app.started tells). The command loads the configuration and
// connects when it needs to, each at most once: help, version and a wrong flag need no cluster and no file. Connecting asks
// nobody; a cluster that is away shows at the first operation, within the timeout. At the end the client is closed, which ends
// its session, the output is flushed, and the error, if any, becomes a line and a code.
//
// # Errors
//
// What ends a command is one line on standard error that begins with "forebay: ", and the exit code of its kind; the table
// exitMeanings decides codes and is their documentation. A command with several paths, or over a tree, goes on after an error:
// it prints each as it comes, once, and ends with the code of the first (type failures; printed marks what the user has seen).
// Two exceptions: an interrupt ends everything, and a listing or a sum ends at what it cannot list, since one with holes looks
// whole. Errors of local files say so and have kinds like all others (localError).
//
// # Output
//
// Standard output is the answer, as a table or lines for people or, with -o json, for scripts: one array from commands that
// list, one object from those that tell of one thing. Names of JSON's keys and the exit codes are append-only. Everything that
// others chose (names, owners, messages) is escaped in text, so that a line is a line and a terminal is not steered; JSON has it
// exactly. Standard error has errors and, on a terminal, a progress bar. Output is buffered; an error flushes it first, so
// that the two come in their order on a screen. A write that fails sticks to the buffer and shows in the exit code.
//
// # Copies
//
// put, get, cp and load walk a tree in one goroutine and copy files in others, a bounded number at a time (type transfer). The
// walk makes a directory before it goes into it, so that every file finds its place. Memory does not grow with the tree.
//
//   - INV-1: a file appears under its name when it is whole. In the namespace a writer that is closed with an error drops its
//     file; on the disk a temporary file beside the target gets the name at the end.
//   - INV-2: without -f nothing that exists is replaced, also not what comes into being during the copy: the master's create and
//     the kernel's link decide, not an earlier look.
//   - INV-3: nothing lands outside of the target: names of the namespace hold no slash and no "..".
//   - INV-4: an interrupt begins no further copy, and the command waits until those under way have dropped what they had.
//
// # Signals
//
// The context of Main ends at the first SIGINT or SIGTERM; everything that waits waits for it, too. A command then ends with
// code 130; a role (up, master, worker) stops cleanly and ends with 0, since it was asked to. A second signal is the kernel's.
package cli
