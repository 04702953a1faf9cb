package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/bits"
)

// An API key is
//
//	eye_ + 43 base62 digits of 256 random bits + 6 base62 digits of a checksum
//
// The checksum is the CRC-32 (IEEE) of everything before it. It keeps nobody
// out: it tells a mistyped or cut key from one that was never ours, before
// anything is looked up, and lets scanners for leaked secrets recognise one.
const (
	KeyPrefix = "eye_"

	keyDigits   = 43 // 62^43 > 2^256
	checkDigits = 6  // 62^6 > 2^32
	keyLength   = len(KeyPrefix) + keyDigits + checkDigits
)

const digits62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Hash is the SHA-256 of a key: all that is kept of it. A key has 256 random
// bits, so nothing slower is needed to keep a stolen hash from telling it.
type Hash [sha256.Size]byte

// HashKey is the hash of a key's text.
func HashKey(key string) Hash {
	// The copy keeps the text from escaping to the heap.
	var b [128]byte
	if len(key) > len(b) {
		return sha256.Sum256([]byte(key))
	}
	return sha256.Sum256(b[:copy(b[:], key)])
}

// MarshalText writes the hash in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(h) {
		return errors.New("key hash must have 64 hexadecimal digits")
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// NewKey makes a fresh API key. It is shown once; keep HashKey of it.
func NewKey() string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: it ends the program instead
	return encodeKey(secret)
}

func encodeKey(secret [32]byte) string {
	b := make([]byte, 0, keyLength)
	b = append(b, KeyPrefix...)
	b = appendBase62(b, secret)
	return string(appendChecksum(b))
}

// appendBase62 appends the number that the bytes are (big-endian) in keyDigits
// digits.
func appendBase62(b []byte, secret [32]byte) []byte {
	var words [4]uint64
	for i := range words {
		words[i] = binary.BigEndian.Uint64(secret[8*i:])
	}
	var text [keyDigits]byte
	for i := keyDigits - 1; i >= 0; i-- {
		var rest uint64
		for w := range words {
			words[w], rest = bits.Div64(rest, words[w], 62)
		}
		text[i] = digits62[rest]
	}
	return append(b, text[:]...)
}

func appendChecksum(b []byte) []byte {
	sum := checksum(string(b))
	return append(b, sum[:]...)
}

// checksum is written out, as hash/crc32 would send the key to the heap.
func checksum(text string) (digits [checkDigits]byte) {
	sum := ^uint32(0)
	for i := range len(text) {
		sum = crc32.IEEETable[byte(sum)^text[i]] ^ sum>>8
	}
	sum = ^sum
	for i := checkDigits - 1; i >= 0; i-- {
		digits[i] = digits62[sum%62]
		sum /= 62
	}
	return digits
}

// checkKey tells whether the text can be a key that NewKey made.
func checkKey(key string) *Error {
	if len(key) < len(KeyPrefix) || key[:len(KeyPrefix)] != KeyPrefix {
		return ErrUnknown // some other secret, e.g. a wrong operator's key
	}
	if len(key) != keyLength {
		return ErrMalformed
	}
	body, check := key[:keyLength-checkDigits], key[keyLength-checkDigits:]
	if sum := checksum(body); string(sum[:]) != check {
		return ErrMalformed
	}
	return nil
}

// hint is the part of a key that may be shown again, to tell keys apart.
func hint(key string) string { return key[:len(KeyPrefix)+4] }
