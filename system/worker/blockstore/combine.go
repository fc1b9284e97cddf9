package blockstore

import "hash/crc32"

// chunkShift applies "append chunkBytes zero bytes" to a CRC32C, a byte at a time: the sum of a page is then made of its
// chunks' sums without reading the page twice. (It is zlib's crc32_combine with the operator for one length precomputed.)
var chunkShift = func() (tables [4][256]uint32) {
	var operator [32]uint32 // of one zero bit
	operator[0] = crc32.Castagnoli
	for i := 1; i < 32; i++ {
		operator[i] = 1 << (i - 1)
	}
	for bits := 1; bits < chunkBytes*8; bits *= 2 {
		var squared [32]uint32
		for i := range squared {
			squared[i] = apply(&operator, operator[i])
		}
		operator = squared
	}
	for k := range tables {
		for b := range tables[k] {
			tables[k][b] = apply(&operator, uint32(b)<<(8*k))
		}
	}
	return tables
}()

// apply multiplies a vector by a matrix over GF(2).
func apply(matrix *[32]uint32, v uint32) (out uint32) {
	for i := 0; v != 0; i++ {
		if v&1 != 0 {
			out ^= matrix[i]
		}
		v >>= 1
	}
	return out
}

// appendChunk is the sum of what before sums, followed by a whole chunk whose sum is chunk.
func appendChunk(before, chunk uint32) uint32 {
	return chunkShift[0][before&0xff] ^ chunkShift[1][before>>8&0xff] ^ chunkShift[2][before>>16&0xff] ^
		chunkShift[3][before>>24] ^ chunk
}
