package host

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refuseUnbounded answers a unary call that has no deadline with InvalidArgument: every request has an end.
// A handler's panic is a broken invariant: the process dies with the stack, as it would in the simulator, rather than
// going on with a half-made change.
func refuseUnbounded(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, status.Errorf(codes.InvalidArgument, "%s: the request has no deadline; set one on the caller's context", info.FullMethod)
	}
	defer dieOnPanic(info.FullMethod)
	return handler(ctx, req)
}

// recoverStream is the same for streams, whose deadlines are their messages' own.
// A stream may live as long as its connection, so that a deadline for the whole of it would say nothing.
func recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	defer dieOnPanic(info.FullMethod)
	return handler(srv, ss)
}

// dieOnPanic must be deferred directly. Exit skips other deferred calls on purpose: they could make state of a broken
// invariant durable.
func dieOnPanic(method string) {
	if r := recover(); r != nil {
		fmt.Fprintf(os.Stderr, "panic in %s: %v\n%s", method, r, debug.Stack())
		os.Exit(2)
	}
}
