package journal

import (
	"errors"
	"fmt"
	"time"
)

// What Append refuses with; ask with errors.Is. Nothing was accepted, except
// that with ErrUnavailable, and when the caller's context ends during the
// commit, the outcome may be unknown: repeating the same events with the same
// ids is harmless.
var (
	ErrFull        = errors.New("the journal is full")         // bytes, disk floor, or too much waiting
	ErrUnavailable = errors.New("the journal does not answer") // no acknowledgement in time
	ErrTooLarge    = errors.New("too large for the journal")   // more than MaxAppendBytes or event.MaxBlockRecords
	ErrDraining    = errors.New("the journal is draining")     // it is being shut down
)

// ErrStuck ends Run: the embedded server acknowledges nothing although the disk
// has room, as it does once a write of its own has failed. Only closing it and
// opening everything again helps. Whatever was acknowledged is on disk.
var ErrStuck = errors.New("the embedded journal server is stuck")

// What reading may answer.
var (
	ErrNotFound    = errors.New("not in the journal")
	ErrCorrupt     = errors.New("block is damaged")
	ErrAhead       = errors.New("position is ahead of the journal")
	ErrNewerFormat = errors.New("written by a newer version")
)

// errBackwards ends Run: the server gave a sequence number that it had given
// before, so that positions, and with them receipts, would be used twice.
var errBackwards = errors.New("the journal's sequence numbers went backwards")

// A refusal is one of Append's errors with its reason and a hint. Refusals are
// shared by all callers of a block.
type refusal struct {
	kind   error
	reason string // metric label
	after  time.Duration
	cause  error // may be nil
}

func (r *refusal) Error() string {
	if r.cause == nil {
		return "append to journal: " + r.kind.Error() + " (" + r.reason + ")"
	}
	return "append to journal: " + r.kind.Error() + " (" + r.reason + "): " + r.cause.Error()
}

func (r *refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.kind}
	}
	return []error{r.kind, r.cause}
}

// RetryAfter is when asking again makes sense: 0 when it does not. Callers that
// do not know this package find it with errors.As.
func (r *refusal) RetryAfter() time.Duration { return r.after }

// RetryAfter is that of an error of Append, 0 for any other.
func RetryAfter(err error) time.Duration {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.after
	}
	return 0
}

// The reasons for refusing: values of the label reason.
const (
	reasonBytes       = "bytes"       // the stream has its MaxBytes, or the server its
	reasonDisk        = "disk"        // the disk floor is reached
	reasonQueue       = "queue"       // too much is waiting
	reasonUnavailable = "unavailable" // the server did not answer in time
	reasonTooLarge    = "too_large"
	reasonDraining    = "draining"
	reasonCanceled    = "canceled" // the caller went away first
)

var (
	refuseQueue    = &refusal{kind: ErrFull, reason: reasonQueue, after: time.Second}
	refuseDraining = &refusal{kind: ErrDraining, reason: reasonDraining, after: 5 * time.Second}
	refuseTooLarge = &refusal{kind: ErrTooLarge, reason: reasonTooLarge}
)

func refuseBytes(cause error) *refusal {
	return &refusal{kind: ErrFull, reason: reasonBytes, after: 10 * time.Second, cause: cause}
}

func refuseDisk(cause error) *refusal {
	return &refusal{kind: ErrFull, reason: reasonDisk, after: 10 * time.Second, cause: cause}
}

func refuseUnavailable(cause error) *refusal {
	return &refusal{kind: ErrUnavailable, reason: reasonUnavailable, after: 2 * time.Second, cause: cause}
}

// CorruptError says that the message at Sequence is no block that can be
// decoded. It matches ErrCorrupt, and ErrNewerFormat when that is why.
type CorruptError struct {
	Sequence uint64
	Err      error
}

func (e *CorruptError) Error() string   { return fmt.Sprintf("journal block %d: %v", e.Sequence, e.Err) }
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// GapError says that the blocks First to Last, both included, are missing from
// the stream although newer ones are there.
type GapError struct{ First, Last uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("journal blocks %d to %d are missing", e.First, e.Last)
}
