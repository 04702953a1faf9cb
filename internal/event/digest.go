package event

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Digest is a fingerprint of what an application said in an event: everything
// but the server's own facts. Two events with one key and one Digest are a
// retry; with two Digests, an id used twice. It only tells whether to report
// that, so it is made to be quick (XXH64), not to withstand its sender.
type Digest uint64

// Digest of the event's content.
func (e *Event) Digest() Digest {
	var h xxhash.Digest
	h.Reset()
	var b [binary.MaxVarintLen64]byte
	for _, s := range [...]string{e.SessionID, e.Category, e.Name} {
		h.Write(binary.AppendUvarint(b[:0], uint64(len(s))))
		h.WriteString(s)
	}
	h.Write(binary.AppendVarint(b[:0], int64(e.Timestamp)))
	h.Write(binary.AppendVarint(b[:0], e.Sequence))
	h.Write(e.Data)
	return Digest(h.Sum64())
}

// Hash is a fingerprint of a Key, wide and strong enough (128 bits of SHA-256)
// to stand for it: nobody can construct two keys that share one.
type Hash [2]uint64

// Hash of the key.
func (k Key) Hash() Hash {
	b := make([]byte, 0, 256)
	b = append(binary.AppendUvarint(b, uint64(len(k.Application))), k.Application...)
	b = append(b, k.ID...)
	sum := sha256.Sum256(b)
	return Hash{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])}
}
