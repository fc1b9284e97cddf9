// Package oracle judges what a simulated cluster did. Each file guards one invariant, and says which contract of the
// design (C1 to C6) that is: it knows what was asked and acknowledged, is told what was answered, and notes in a Book what can
// never be right. Oracles never call the cluster and change nothing in it; package scenario asks the questions and brings
// the answers here.
//
//	acknowledged.go  C1, C3  what was acknowledged is there, what was removed is gone, nothing else appears
//	boards.go        C1      who asks after an acknowledged change sees it, whoever made it
//	contents.go      C4, C5  every byte is that of the write it belongs to
//	once.go          C2      no change is made twice
//	versions.go      C2, C4  a file has a new version for each write and no more
//	races.go         C1, C2  of those who make the same file at once, one does
//	capacity.go      C6      no tier holds more than its capacity
//	kept.go          C3      pinned and unpersisted pages stay where they are
//	leaks.go         C6      what a load leaves behind is bounded
//
// # Doubt
//
// A change that failed may have been made, or be made later: its outcome is open. An oracle then knows two states and
// accepts either, and never both. The load leaves alone what is in doubt, so that doubts do not pile up, and the end of a run
// settles each of them.
package oracle
