package api_test

import (
	"strings"
	"testing"

	"github.com/the-eye/eye/internal/api"
)

// FuzzCursor: whatever is taken as a cursor has exactly one spelling.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("AQ")
	f.Add(api.EncodeCursor("l", make([]byte, 24)))
	f.Add(api.EncodeCursor("l", []byte{0, 0, 0, 0, 0, 0, 0, 1}))
	f.Add(api.EncodeCursor("l", []byte("\x00\x00\x00\x00\x00\x00\x00\x01session")))
	f.Add(api.EncodeCursor("l", []byte("web-shop")))
	f.Add(api.EncodeCursor("other", []byte("web-shop")))
	f.Add(api.EncodeCursor("l", []byte("web-shop")) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		if again, ok := api.DecodeCursors("l", text); ok && again != text {
			t.Errorf("cursor %q is also %q", text, again)
		}
	})
}

func TestCursorSeedsDecode(t *testing.T) {
	t.Parallel()
	for _, key := range []string{string(make([]byte, 24)), "\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x01session", "web-shop"} {
		if again, ok := api.DecodeCursors("l", api.EncodeCursor("l", []byte(key))); !ok || again != api.EncodeCursor("l", []byte(key)) {
			t.Errorf("the cursor with the key %q does not decode", key)
		}
		if _, ok := api.DecodeCursors("m", api.EncodeCursor("l", []byte(key))); ok {
			t.Errorf("the cursor with the key %q decodes for another list", key)
		}
	}
}

// TestCursorHasOneSpelling: the bits that base64 leaves over must be zero.
func TestCursorHasOneSpelling(t *testing.T) {
	t.Parallel()
	good := api.EncodeCursor("l", []byte{0, 0, 0, 0, 0, 0, 0, 1}) // 17 bytes, 2 bits left over
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, good[len(good)-1])
	for spare := 1; spare < 4; spare++ {
		other := good[:len(good)-1] + digits[last+spare:last+spare+1]
		if _, ok := api.DecodeCursors("l", other); ok {
			t.Errorf("cursor %q is taken for %q", other, good)
		}
	}
}
