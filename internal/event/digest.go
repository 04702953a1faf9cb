package event

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is a fingerprint of what an application said in an event: everything
// but the server's own facts. Two events with one key and one Digest are a
// retry; with two Digests, an id used twice.
type Digest uint64

// Digest of the event's content.
func (e *Event) Digest() Digest {
	b := make([]byte, 0, 512)
	for _, s := range [...]string{e.SessionID, e.Category, e.Name} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendVarint(b, int64(e.Timestamp))
	b = binary.AppendVarint(b, e.Sequence)
	b = append(b, e.Data...)
	sum := sha256.Sum256(b)
	return Digest(binary.LittleEndian.Uint64(sum[:8]))
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
