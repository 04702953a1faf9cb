package event

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// Receipts turns journal positions into receipts and back.
//
// A receipt is one AES-128 block over the position and eight zero bytes, in
// base64url: 22 characters that tell a stranger nothing, cost no storage, and
// can be made up only with a chance of 2^-64 a try.
type Receipts struct{ block cipher.Block }

// ReceiptKeySize is the size in bytes of the key behind receipts.
const ReceiptKeySize = 16

// ErrReceipt: the text is no receipt of this installation.
var ErrReceipt = errors.New("no such receipt")

// NewReceipts makes receipts under a secret key of ReceiptKeySize bytes. Every
// node of an installation, now and later, needs the same key.
func NewReceipts(key []byte) (*Receipts, error) {
	if len(key) != ReceiptKeySize {
		return nil, errors.New("receipt key must have 16 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &Receipts{block}, nil
}

// Append appends the receipt of the record at p to b.
func (r *Receipts) Append(b []byte, p Position) []byte {
	var text [aes.BlockSize]byte
	binary.BigEndian.PutUint64(text[:8], uint64(p))
	r.block.Encrypt(text[:], text[:])
	return base64.RawURLEncoding.AppendEncode(b, text[:])
}

// Of is the receipt of the record at p.
func (r *Receipts) Of(p Position) string { return string(r.Append(nil, p)) }

// Position is the position that the receipt stands for, or ErrReceipt.
func (r *Receipts) Position(receipt string) (Position, error) {
	var text [aes.BlockSize]byte
	if len(receipt) != base64.RawURLEncoding.EncodedLen(aes.BlockSize) {
		return 0, ErrReceipt
	}
	// Strict: the spare bits of the last character must be zero, so that a
	// receipt has exactly one spelling.
	if _, err := base64.RawURLEncoding.Strict().Decode(text[:], []byte(receipt)); err != nil {
		return 0, ErrReceipt
	}
	r.block.Decrypt(text[:], text[:])
	if binary.BigEndian.Uint64(text[8:]) != 0 {
		return 0, ErrReceipt
	}
	return Position(binary.BigEndian.Uint64(text[:8])), nil
}
