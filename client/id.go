package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// newID returns a UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 bits of the
// fraction behind them, 62 bits of chance. Ids sort roughly by time, which
// keeps the server's look-ups short.
func newID(now time.Time) string {
	var u [16]byte
	rand.Read(u[8:]) // never fails: the program ends if there is no randomness
	ms := now.UnixMilli()
	fraction := uint64(now.Nanosecond()%1e6) << 12 / 1e6
	binary.BigEndian.PutUint64(u[:8], uint64(ms)<<16|7<<12|fraction)
	u[8] = u[8]&0x3f | 0x80

	var text [36]byte
	hex.Encode(text[:], u[:4])
	hex.Encode(text[9:], u[4:6])
	hex.Encode(text[14:], u[6:8])
	hex.Encode(text[19:], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// NewID returns a new id for an event: a UUIDv7. Send gives one to every event
// without; make it yourself to know it before.
func NewID() string { return newID(time.Now()) }
