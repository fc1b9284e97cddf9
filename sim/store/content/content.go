// Package content is what simulated files hold: bytes that follow from a file's path and version, of which any range can be
// made or checked without the rest and without keeping any. It owns the function and nothing else. The under store makes
// its files by it (package store), and the load of a scenario writes and checks by it.
//
// Each eight bytes are a hash of the file's ID and of their place, so that bytes of another file, of an older version, or from
// another place of the same file are found out as surely as damaged ones. The hash has an inverse: the first eight bytes of a file
// name the only ID that it can have, which lets a store find out that what is written to it need not be kept.
package content

import (
	"encoding/binary"
	"math/bits"
)

// ID is one content of any length. Two files with one ID hold the same bytes as far as both go.
type ID uint64

const (
	golden = 0x9e3779b97f4a7c15
	// The multipliers of SplitMix64 (Steele, Lea, Flood 2014), and their inverses modulo 2^64.
	mulA, mulB         = 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	inverseA, inverseB = 0x96de1b173f119089, 0x319642b2d24d8ec3
	wordBytes          = 8
)

// Of is the content of one version of the file that was first written at path, which begins with a slash.
func Of(path string, version uint64) ID {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	for shift := 56; shift >= 0; shift -= 8 {
		h = (h ^ version>>shift&0xff) * 1099511628211
	}
	return ID(bits.RotateLeft64(h, 17) * golden)
}

// Make is the first size bytes of the content.
func (id ID) Make(size int) []byte {
	data := make([]byte, size)
	id.Fill(data, 0)
	return data
}

// Fill makes the bytes from offset on, as many as p holds.
func (id ID) Fill(p []byte, offset int64) {
	i := uint64(offset) / wordBytes
	if skip := offset % wordBytes; skip > 0 {
		w := id.bytes(i)
		p = p[copy(p, w[skip:]):]
		i++
	}
	for ; len(p) >= wordBytes; i++ {
		binary.LittleEndian.PutUint64(p, id.word(i))
		p = p[wordBytes:]
	}
	w := id.bytes(i)
	copy(p, w[:])
}

// Wrong is the place in p of the first byte that is not the content's from offset on; -1 when all are.
func (id ID) Wrong(p []byte, offset int64) int {
	i, at := uint64(offset)/wordBytes, 0
	if skip := int(offset % wordBytes); skip > 0 {
		w := id.bytes(i)
		for ; at < len(p) && skip+at < wordBytes; at++ {
			if p[at] != w[skip+at] {
				return at
			}
		}
		i++
	}
	for ; len(p)-at >= wordBytes; i++ {
		if d := binary.LittleEndian.Uint64(p[at:]) ^ id.word(i); d != 0 {
			return at + bits.TrailingZeros64(d)/8
		}
		at += wordBytes
	}
	w := id.bytes(i)
	for k := range p[at:] {
		if p[at+k] != w[k] {
			return at + k
		}
	}
	return -1
}

// Begins is the only content that begins with p, of which it looks at eight bytes; whether what follows is of it, too, Wrong
// tells. ok is false when p is shorter.
func Begins(p []byte) (id ID, ok bool) {
	if len(p) < wordBytes {
		return 0, false
	}
	return ID(unmix(binary.LittleEndian.Uint64(p))), true
}

// word is the i-th eight bytes. Word 0 is the hash of the ID itself, which Begins undoes.
func (id ID) word(i uint64) uint64 { return mix(uint64(id) + i*golden) }

func (id ID) bytes(i uint64) (w [wordBytes]byte) {
	binary.LittleEndian.PutUint64(w[:], id.word(i))
	return w
}

// mix is SplitMix64's finalizer: a permutation of all 64-bit numbers.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * mulA
	z = (z ^ z>>27) * mulB
	return z ^ z>>31
}

func unmix(z uint64) uint64 {
	z = (z ^ z>>31 ^ z>>62) * inverseB
	z = (z ^ z>>27 ^ z>>54) * inverseA
	return z ^ z>>30 ^ z>>60
}
