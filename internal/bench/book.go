package bench

import (
	"encoding/binary"
	"math/bits"

	"github.com/the-eye/eye/internal/event"
)

// book is what one connection knows about the events it sent: three bits an
// event, and about four bytes a request to know when its events happened.
// It belongs to its connection until the load has ended.
type book struct {
	issued  uint64 // events 0 … issued-1 were named
	acked   bitset // the server said it has them
	unsure  bitset // the answer never came: may be there or not
	seen    bitset // found when reading back
	log     []byte // a request: uvarint of microseconds since the last, uvarint of new events
	lastLog event.Micros
}

// open starts a request with events issued from now on; the first happened at
// the instant, the others a microsecond apart.
func (b *book) open(at event.Micros, events uint64) (first uint64) {
	first = b.issued
	b.issued += events
	b.log = binary.AppendUvarint(b.log, uint64(at-b.lastLog))
	b.log = binary.AppendUvarint(b.log, events)
	b.lastLog = at
	return first
}

// each calls f for every event with the time it happened at.
func (b *book) each(f func(n uint64, at event.Micros)) {
	var n uint64
	var at event.Micros
	for log := b.log; len(log) > 0; {
		d, k := binary.Uvarint(log)
		events, l := binary.Uvarint(log[k:])
		log = log[k+l:]
		at += event.Micros(d)
		for i := range events {
			f(n, at+event.Micros(i))
			n++
		}
	}
}

// bitset is a set of small numbers that grows as needed.
type bitset []uint64

func (s *bitset) add(n uint64) {
	for uint64(len(*s)) <= n/64 {
		*s = append(*s, 0)
	}
	(*s)[n/64] |= 1 << (n % 64)
}

func (s bitset) has(n uint64) bool {
	return n/64 < uint64(len(s)) && s[n/64]&(1<<(n%64)) != 0
}

// size is how many numbers are in the set.
func (s bitset) size() (n int64) {
	for _, word := range s {
		n += int64(bits.OnesCount64(word))
	}
	return n
}
