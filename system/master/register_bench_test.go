package master

import (
	"fmt"
	"testing"

	gproto "google.golang.org/protobuf/proto"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/blockmap"
	"github.com/forebay/forebay/system/proto"
)

// BenchmarkTakeBatch is what a block of a registration costs the master's processor, from the message's bytes on, with files
// of one block and of sixteen. The simulator's model has the first (sim/world, registerPerKiloByte). With -benchtime 2000x the
// map ends at 20 million blocks.
func BenchmarkTakeBatch(b *testing.B) {
	for _, perFile := range []int{1, 16} {
		b.Run(fmt.Sprintf("blocks=%d", perFile), func(b *testing.B) {
			const batch = 10_000
			m := blockmap.New()
			bytes := 0
			for i := range b.N {
				b.StopTimer()
				message := batchOf(batch/perFile, perFile, i)
				bytes += len(message)
				b.StartTimer()
				var got proto.RegisterRequest
				if err := gproto.Unmarshal(message, &got); err != nil {
					b.Fatal(err)
				}
				m.AddList(dfs.WorkerID(fmt.Sprint("worker-", i/4)), blockIDs(got.Files))
			}
			blocks := float64(b.N * batch)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/blocks, "ns/block")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(bytes)*1024, "ns/KiB")
		})
	}
}

// batchOf is the i-th message, of files that no other has.
func batchOf(files, perFile, i int) []byte {
	message := &proto.RegisterRequest{}
	for f := range files {
		held := &proto.HeldFile{Inode: 1<<40 + uint64(i*files+f), Version: 1}
		for index := range perFile {
			held.Blocks = append(held.Blocks, uint32(index))
		}
		message.Files = append(message.Files, held)
	}
	encoded, err := gproto.Marshal(message)
	if err != nil {
		panic(err)
	}
	return encoded
}
