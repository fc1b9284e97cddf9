package inodestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/forebay/forebay/system/dfs"
)

// parseHeapFile reads what writeFile wrote. It never panics on anything else.
// The sum is checked before anything is taken apart, so what is decoded was written by some build; entries that do not
// decode after that are a newer format. The state that comes with an error is not to be used. Memory is bounded by the
// file's size.
func parseHeapFile(data []byte) (uint64, heapState, error) {
	state := newHeapState()
	body, ok := checkedBody(data)
	if !ok {
		return 0, state, errHeapFile
	}
	index := binary.BigEndian.Uint64(body)
	d := decoder{buf: body[8:]}
	for {
		key := d.bytes()
		if len(key) == 0 {
			break
		}
		if err := state.addEntry(key, d.bytes()); err != nil {
			return 0, state, err
		}
	}
	if d.bad != "" || len(d.buf) > 0 {
		return 0, state, errHeapFile
	}
	return index, state, nil
}

// checkedBody is what lies between the magic and the sum, if both are right.
// The magic has the format's number in it; another one is no file of ours.
func checkedBody(data []byte) ([]byte, bool) {
	const sumBytes = 4
	if len(data) < len(heapMagic)+8+sumBytes || string(data[:len(heapMagic)]) != heapMagic {
		return nil, false
	}
	summed, sum := data[:len(data)-sumBytes], data[len(data)-sumBytes:]
	if crc32.Checksum(summed, castagnoli) != binary.BigEndian.Uint32(sum) {
		return nil, false
	}
	return summed[len(heapMagic):], true
}

// addEntry takes one entry of a file in. Entries come in the order of their keys, which lets the trees be filled from
// one side.
// The value is copied for records; an inode's decoder copies what it keeps. So the file's bytes can go when all is
// read.
func (st *heapState) addEntry(key, value []byte) error {
	if key[0] != prefixInode {
		st.records.Load(heapRecord{key: string(key), value: append([]byte{}, value...)})
		return nil
	}
	const prefixLen = 1 + 8
	if len(key) < prefixLen {
		return fmt.Errorf("%w: a key of %d bytes", errHeapFile, len(key))
	}
	n, err := decodeInode(dfs.InodeID(binary.BigEndian.Uint64(key[1:])), string(key[prefixLen:]), value)
	if err != nil {
		return err
	}
	st.inodes.Load(n)
	return nil
}
