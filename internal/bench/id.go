package bench

import (
	"encoding/hex"
	"math/bits"

	"github.com/the-eye/eye/internal/event"
)

// ids names the events of one run. An id looks like a UUIDv7 and is one, but its
// random part is a number scrambled so that it can be told later which
// connection sent it, and which of its events it was.
//
//	48 bits time │ 7 │ 12 bits │ 8+tag │ 8 bits tag │ 52 bits
//	                   └─ upper ──── scrambled ──── lower ─┘
type ids struct{ key uint64 }

// name is what an id stands for: event number n (from 0) of a connection.
type name struct {
	conn uint16
	n    uint64 // below 2^48
}

const idLen = 36

// put writes the id of nm, made at the instant at, over dst[:idLen].
func (s ids) put(dst []byte, nm name, at event.Micros) {
	x := scramble((uint64(nm.conn)<<48 | nm.n) ^ s.key)
	tag := scramble(s.key)
	var u [16]byte
	ms := uint64(at / 1000)
	hi := ms<<16 | 7<<12 | x>>52
	lo := 2<<62 | tag>>54<<52 | x&(1<<52-1)
	for i := range 8 {
		u[i], u[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	putUUID(dst, u)
}

// parse is the reverse of put; false for an id that this run did not make.
func (s ids) parse(id string) (name, bool) {
	var u [16]byte
	if !parseUUID(id, &u) {
		return name{}, false
	}
	var hi, lo uint64
	for i := range 8 {
		hi, lo = hi<<8|uint64(u[i]), lo<<8|uint64(u[8+i])
	}
	if hi>>12&15 != 7 || lo>>52 != 2<<10|scramble(s.key)>>54 {
		return name{}, false
	}
	x := unscramble(hi&(1<<12-1)<<52|lo&(1<<52-1)) ^ s.key
	return name{uint16(x >> 48), x & (1<<48 - 1)}, true
}

// Sessions: every connection has live sessions going on at the same time, whose
// events take turns; each has sessionEvents of them.
const (
	liveSessions  = 16
	sessionEvents = 12
)

// putSession writes the id of the session that the event belongs to.
func (s ids) putSession(dst []byte, nm name) {
	slot, turn := nm.n%liveSessions, nm.n/liveSessions
	// The slots do not change their sessions all at once.
	session := slot + liveSessions*((turn+slot)/sessionEvents)
	a := scramble(scramble(uint64(nm.conn)<<48|session) + s.key)
	b := scramble(a ^ s.key)
	var u [16]byte
	for i := range 8 {
		u[i], u[8+i] = byte(a>>(56-8*i)), byte(b>>(56-8*i))
	}
	u[6], u[8] = u[6]&15|4<<4, u[8]&63|2<<6
	putUUID(dst, u)
}

func putUUID(dst []byte, u [16]byte) {
	hex.Encode(dst[0:8], u[0:4])
	hex.Encode(dst[9:13], u[4:6])
	hex.Encode(dst[14:18], u[6:8])
	hex.Encode(dst[19:23], u[8:10])
	hex.Encode(dst[24:36], u[10:16])
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
}

func parseUUID(s string, u *[16]byte) bool {
	if len(s) != idLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	text := make([]byte, 0, 32)
	for _, part := range [...]string{s[0:8], s[9:13], s[14:18], s[19:23], s[24:36]} {
		text = append(text, part...)
	}
	_, err := hex.Decode(u[:], text)
	return err == nil
}

// scramble maps numbers to numbers one to one, so that neighbours have nothing
// in common (the finalizer of SplitMix64); unscramble is its reverse.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func unscramble(x uint64) uint64 {
	x = unshift(x, 31) * 0x319642b2d24d8ec3
	x = unshift(x, 27) * 0x96de1b173f119089
	return unshift(x, 30)
}

// unshift solves y = x ^ x>>k for x.
func unshift(y uint64, k int) uint64 {
	x := y
	for range bits.UintSize / k {
		x = y ^ x>>k
	}
	return x
}
