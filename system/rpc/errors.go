package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/forebay/forebay/system/dfs"
	pb "github.com/forebay/forebay/system/proto"
)

// codeOfKind is the gRPC code that people and proxies see beside the true kind in the status detail. Retryable codes
// (Unavailable) stand only for kinds that are worth a retry.
var codeOfKind = map[dfs.Kind]codes.Code{
	dfs.Unknown:            codes.Unknown,
	dfs.NotFound:           codes.NotFound,
	dfs.AlreadyExists:      codes.AlreadyExists,
	dfs.NotDirectory:       codes.FailedPrecondition,
	dfs.IsDirectory:        codes.FailedPrecondition,
	dfs.NotEmpty:           codes.FailedPrecondition,
	dfs.InvalidArgument:    codes.InvalidArgument,
	dfs.NameTooLong:        codes.InvalidArgument,
	dfs.PermissionDenied:   codes.PermissionDenied,
	dfs.Incomplete:         codes.FailedPrecondition,
	dfs.NotLeader:          codes.Unavailable,
	dfs.Unavailable:        codes.Unavailable,
	dfs.DeadlineExceeded:   codes.DeadlineExceeded,
	dfs.Canceled:           codes.Canceled,
	dfs.ResourceExhausted:  codes.ResourceExhausted,
	dfs.SessionExpired:     codes.FailedPrecondition,
	dfs.Corrupted:          codes.DataLoss,
	dfs.DataLost:           codes.DataLoss,
	dfs.ReadOnly:           codes.FailedPrecondition,
	dfs.CrossMount:         codes.FailedPrecondition,
	dfs.UnsupportedFeature: codes.Unimplemented,
	dfs.Conflict:           codes.Aborted,
	dfs.NoSpace:            codes.ResourceExhausted,
	dfs.UnderStore:         codes.Internal,
	dfs.Stale:              codes.Aborted,
}

// ToStatus turns err into a gRPC status error with the dfs.Error as its detail. A status error stays as it is, and nil
// is nil. A kind that this build does not know keeps its number.
//
// Handlers return it at the server's edge. The detail carries all but the cause; should it not fit into the status, the code
// and the text still travel.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, isStatus := err.(interface{ GRPCStatus() *status.Status }); isStatus {
		return err
	}
	message := ErrorToProto(err)
	code, known := codeOfKind[dfs.Kind(message.Kind)]
	if !known {
		code = codes.Unknown
	}
	s := status.New(code, valid(err.Error()))
	if detailed, failed := s.WithDetails(message); failed == nil {
		s = detailed
	}
	return s.Err()
}

// transportFault says what a status without our detail means: it was made by gRPC, not by a service of ours.
// The remedy is for people; the kind is what retries go by.
type transportFault struct {
	kind   dfs.Kind
	remedy string
}

var transportFaults = map[codes.Code]transportFault{
	codes.Unavailable:       {dfs.Unavailable, "check that the server runs and can be reached at this address; the call may be tried again"},
	codes.DeadlineExceeded:  {dfs.DeadlineExceeded, "the server did not answer in time; try again, or allow more time"},
	codes.Canceled:          {dfs.Canceled, "the call was given up"},
	codes.ResourceExhausted: {dfs.ResourceExhausted, "a message or queue limit of the connection was met; ask for less at a time or try later"},
	codes.Unimplemented:     {dfs.UnsupportedFeature, "the server does not know this call; use the same release on both ends, and check the address"},
	codes.InvalidArgument:   {dfs.InvalidArgument, "the server refused the call's form"},
	codes.PermissionDenied:  {dfs.PermissionDenied, "the connection is not allowed to do this"},
	codes.NotFound:          {dfs.NotFound, "the server does not know the object"},
}

// FromStatus turns what a stub returned into a dfs.Error. nil is nil, a dfs.Error stays as it is, and errors of the
// transport get the kind that tells the caller what to do, with a remedy. It keeps err as the cause.
// A dfs.Error anywhere in err's chain counts, so that it may be applied twice. A code without an entry is Unknown,
// which is not retried: a fault that nobody foresaw is better seen than repeated.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	var known *dfs.Error
	if errors.As(err, &known) {
		return err
	}
	s, isStatus := status.FromError(err)
	if !isStatus {
		return fromLocal(err)
	}
	for _, detail := range s.Details() {
		if message, ok := detail.(*pb.Error); ok {
			decoded := decodeError(message)
			decoded.Err = err
			return decoded
		}
	}
	fault, ok := transportFaults[s.Code()]
	if !ok {
		fault = transportFault{dfs.Unknown, "this is a fault of the server: see its log"}
	}
	return &dfs.Error{Kind: fault.kind, Op: "call", Detail: fmt.Sprintf("%s; %s", s.Message(), fault.remedy), Err: err}
}

// fromLocal is for errors that never were a status: context errors, and streams that ended early.
func fromLocal(err error) error {
	kind := dfs.KindOf(err)
	detail := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		detail = transportFaults[codes.DeadlineExceeded].remedy
	case errors.Is(err, context.Canceled):
		detail = transportFaults[codes.Canceled].remedy
	}
	return &dfs.Error{Kind: kind, Op: "call", Detail: detail, Err: err}
}

// ErrorToProto is err as a message; nil is nil. An error without a kind becomes Unknown with its text.
func ErrorToProto(err error) *pb.Error {
	if err == nil {
		return nil
	}
	var e *dfs.Error
	if !errors.As(err, &e) {
		return &pb.Error{Kind: uint32(dfs.KindOf(err)), Detail: valid(err.Error())}
	}
	return &pb.Error{
		Kind: uint32(e.Kind), Op: valid(e.Op), Path: valid(e.Path), Detail: valid(e.Detail), Leader: valid(e.Leader),
	}
}

// valid is text as protobuf takes it. Errors quote what others sent, and an under store's names may be any bytes: one
// such error would otherwise make the whole answer, of a batch for instance, impossible to send.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// ErrorFromProto is the message as an error (a *dfs.Error); nil is nil.
//
// nil is a nil error, not one that holds a nil *dfs.Error: callers compare it.
func ErrorFromProto(message *pb.Error) error {
	if message == nil {
		return nil
	}
	return decodeError(message)
}

// decodeError makes the error of a message; nothing of it is trusted to be known. It keeps a kind that this build does not
// know as its number: it is passed on, and printed, as it came.
func decodeError(message *pb.Error) *dfs.Error {
	return &dfs.Error{
		Kind: dfs.Kind(message.Kind), Op: message.Op, Path: message.Path, Detail: message.Detail, Leader: message.Leader,
	}
}
