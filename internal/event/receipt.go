package event

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/binary"
	"errors"
)

// Receipts turns journal positions into receipts and back.
//
// A receipt is one AES-128 block over the position and eight zero bytes, in
// base32: 26 lower-case letters and digits, to be selected with a double click
// and typed into a shell, that tell a stranger nothing, cost no storage, and
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
	return receiptText.AppendEncode(b, text[:])
}

// receiptText is base32 as in RFC 4648 §6, in lower case and without padding.
var receiptText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// receiptChars is the length of a receipt.
const receiptChars = 26

// Of is the receipt of the record at p.
func (r *Receipts) Of(p Position) string { return string(r.Append(nil, p)) }

// Position is the position that the receipt stands for, or ErrReceipt.
func (r *Receipts) Position(receipt string) (Position, error) {
	var text [aes.BlockSize]byte
	if len(receipt) != receiptChars {
		return 0, ErrReceipt
	}
	if _, err := receiptText.Decode(text[:], []byte(receipt)); err != nil {
		return 0, ErrReceipt
	}
	// A receipt has exactly one spelling: what Decode passes over (line breaks,
	// spare bits of the last character) is none of it.
	if string(receiptText.AppendEncode(nil, text[:])) != receipt {
		return 0, ErrReceipt
	}
	r.block.Decrypt(text[:], text[:])
	if binary.BigEndian.Uint64(text[8:]) != 0 {
		return 0, ErrReceipt
	}
	return Position(binary.BigEndian.Uint64(text[:8])), nil
}
