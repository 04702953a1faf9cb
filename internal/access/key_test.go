package access

import (
	"hash/crc32"
	"math/big"
	"testing"
)

func TestChecksumIsCRC32(t *testing.T) {
	t.Parallel()
	const text = "eye_0123"
	n := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text))))
	got := checksum(text)
	back := new(big.Int)
	for _, d := range got {
		back.Mul(back, big.NewInt(62)).Add(back, big.NewInt(value62(d)))
	}
	if back.Cmp(n) != 0 {
		t.Errorf("checksum(%q) = %s, which is %v; want %v", text, got, back, n)
	}
}

func TestBase62KeepsEveryBit(t *testing.T) {
	t.Parallel()
	for _, secret := range [][32]byte{{}, {31: 1}, {0: 0x80}, {0: 1, 15: 7, 31: 255},
		{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}} {
		text := appendBase62(nil, secret)
		back := new(big.Int)
		for _, d := range text {
			back.Mul(back, big.NewInt(62)).Add(back, big.NewInt(value62(d)))
		}
		if want := new(big.Int).SetBytes(secret[:]); back.Cmp(want) != 0 {
			t.Errorf("appendBase62(%x) = %s, which is %v; want %v", secret, text, back, want)
		}
		if err := checkKey(encodeKey(secret)); err != nil {
			t.Errorf("checkKey of the key of %x = %v", secret, err)
		}
	}
}

func value62(d byte) int64 {
	for i := range len(digits62) {
		if digits62[i] == d {
			return int64(i)
		}
	}
	return -1
}
