package trace

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/forebay/forebay/system/proto"
	"github.com/forebay/forebay/system/rpc"
)

// methodName is "Data.Read" of "/forebay.v1.Data/Read".
func methodName(full string) string {
	return serviceName(full) + "." + full[strings.LastIndexByte(full, '/')+1:]
}

// serviceName is "Data" of "/forebay.v1.Data/Read".
func serviceName(full string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	return service[strings.LastIndexByte(service, '.')+1:]
}

// mostDescribed is how many operations of a batch are told; the others are counted.
const mostDescribed = 3

// describeBatch names the operations of a batch: "create_file /a, get_status /b".
func describeBatch(b *pb.OperationBatch) string {
	var words []string
	for _, op := range b.Operations[:min(len(b.Operations), mostDescribed)] {
		m := op.ProtoReflect()
		kind := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
		if kind == nil {
			words = append(words, "nothing")
			continue
		}
		words = append(words, strings.TrimSpace(string(kind.Name())+" "+fields(m.Get(kind).Message())))
	}
	if more := len(b.Operations) - mostDescribed; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// told are the fields by which a person knows what a message is about, in this order.
var told = []protoreflect.Name{"path", "source", "target", "inode", "version", "ufs_path", "offset", "length"}

// describe is what a message says of what it is about; empty when that is nothing.
func describe(m any) string {
	if p, ok := m.(proto.Message); ok {
		return fields(p.ProtoReflect())
	}
	return ""
}

// fields tells those of a message that are in told, and of the file that it names: texts as they are, of numbers the name, too.
func fields(m protoreflect.Message) string {
	var words []string
	for _, name := range told {
		f := m.Descriptor().Fields().ByName(name)
		if f == nil || !m.Has(f) || f.IsList() {
			continue
		}
		if f.Kind() == protoreflect.StringKind {
			words = append(words, m.Get(f).String())
		} else if f.Message() == nil {
			words = append(words, string(name)+"="+m.Get(f).String())
		}
	}
	for _, name := range []protoreflect.Name{"file", "header"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil && f.Message() != nil && m.Has(f) {
			words = append([]string{fields(m.Get(f).Message())}, words...)
		}
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// resultOutcome tells the first error of a batch's results, and how many there are; empty when all is well.
func resultOutcome(b *pb.ResultBatch) string {
	if b.Error != nil {
		return errorText(b.Error)
	}
	first, failed := "", 0
	for _, r := range b.Results {
		if r.Error != nil {
			if failed == 0 {
				first = errorText(r.Error)
			}
			failed++
		}
	}
	if failed > 1 {
		return fmt.Sprintf("%s, and %d more errors", first, failed-1)
	}
	return first
}

func errorText(e *pb.Error) string { return rpc.ErrorFromProto(e).Error() }
