package journal

import (
	"sync"

	"github.com/the-eye/eye/internal/event"
)

// waiterBytes is what a waiting batch is counted with beyond its bytes: the
// goroutine and the request that wait with it.
const waiterBytes = 1 << 10

// A waiter is one Append that waits for its answer.
type waiter struct {
	records []byte
	count   int
	queued  bool // guarded by Journal.mu

	next, prev *waiter // guarded by Journal.mu

	done  chan struct{} // has a token when first and err are set
	first event.Position
	err   error
}

var waiters = sync.Pool{New: func() any { return &waiter{done: make(chan struct{}, 1)} }}

// recycle gives the waiter back. Only its Append does so, and only when the
// committer is through with it.
func (w *waiter) recycle() {
	w.records, w.err = nil, nil
	waiters.Put(w)
}

// answer wakes the Append. The waiter must not be touched afterwards.
func (w *waiter) answer(first event.Position, err error) {
	w.first, w.err = first, err
	w.done <- struct{}{}
}

// A queue holds waiters in order of arrival. Any of them can leave at once.
type queue struct {
	head, tail *waiter
	bytes      int64
}

func (q *queue) push(w *waiter) {
	w.queued, w.next, w.prev = true, nil, q.tail
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.bytes += int64(len(w.records)) + waiterBytes
}

func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.queued, w.next, w.prev = false, nil, nil
	q.bytes -= int64(len(w.records)) + waiterBytes
}
