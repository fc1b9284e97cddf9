// Package proto holds the wire protocol: the .proto files and the code generated from them (make proto), which is
// committed and checked fresh in CI. Nothing is written by hand here; conversions to and from the nouns of package dfs
// are in package rpc.
package proto
