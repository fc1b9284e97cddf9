// Package rpc is what travels between Forebay's processes beyond the generated stubs: errors as gRPC statuses, nouns as
// messages, pages without copies, shared connections, and the coalescing of many callers' metadata operations into few
// messages. It owns no service and no policy: retries, failover and placement belong to package client, the answers to
// master and worker, which are its callers.
//
// # Pages
//
// Messages of the Data service with a large data field (proto.ReadResponse, proto.WriteRequest) use the codec named
// CodecName, which a client picks with PageCodec() as call option; servers pick it by the content subtype. It is wire
// compatible with protobuf: either end may use the plain codec. The ownership of page buffers follows three rules:
//
//   - Sending: wrap the message and its PageBuffer in a ReadPage or WritePage and call stream.SendMsg. The codec takes a
//     reference of its own for as long as gRPC needs the bytes. The sender frees its reference whenever it likes after
//     SendMsg returned, and must not change the bytes while others may hold references (see PageBuffer).
//   - Receiving: call stream.RecvMsg with a ReadPage or WritePage. Its Buffer then belongs to the receiver, who frees it
//     when done with Data. Free on a nil Buffer does nothing, so it is always right to defer it.
//   - A plain message (the stub's Send and Recv) works too. Sent, its data is not copied and must never change
//     afterwards; received, its data is garbage-collected memory that needs no Free.
//
// # Coalesced metadata calls
//
// A Coalescer packs concurrent callers' operations into batches on one stream to one master, and ServeStream is its
// counterpart in the server. See Coalescer for its invariants.
//
// The life of an operation: Do takes a place (the bound of what is queued and in flight), joins the batch that its Caller
// is forming, and waits for the batch. One task, the sender, opens the stream at need and sends batch after batch, for as
// long as there are any and not too many are unanswered. One task for each stream receives answers and finishes their
// batches; when the stream ends, it finishes all that are left as failed. A batch that is finished gives its places back
// and wakes its callers, those that have given up meanwhile included.
//
// Three things can end a stream: the server or the connection, which the receiver sees; a failure to send, for which the
// sender cancels the stream, so that the receiver sees that too; and silence, which the watch turns into a cancel. So there
// is one place where a stream ends (Coalescer.broke), and what is in flight is failed once.
//
// # Errors
//
// A dfs.Error travels as the detail of a gRPC status, with all but its cause, or inside a result. Its kind is what callers
// match; the gRPC code beside it is for people and proxies. A status without that detail was made by gRPC, and FromStatus
// gives it the kind that tells a caller what to do. Kinds that this build does not know keep their numbers.
package rpc
