package journal_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/s2"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

// sameBlock compares blocks, large ones in reasonable time.
var sameBlock = cmp.Options{cmpopts.IgnoreUnexported(journal.Block{}), cmp.Comparer(bytes.Equal)}

func mustEncode(tb testing.TB, batches ...journal.Batch) []byte {
	tb.Helper()
	data, err := journal.EncodeBlock(nil, batches)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestDecodeBlockIsInverse(t *testing.T) {
	t.Parallel()
	tests := map[string][]journal.Batch{
		"nothing":         nil,
		"one record":      {{Records: []byte("a"), Count: 1}},
		"several":         {{Records: []byte("aa"), Count: 2}, {Records: records(1000), Count: 300}, {Records: []byte("z"), Count: 1}},
		"does not shrink": {{Records: random(100_000), Count: 1}},
		"large":           {{Records: records(16 << 20), Count: 10_000}},
		"most records":    {{Records: records(event.MaxBlockRecords), Count: event.MaxBlockRecords}},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := journal.DecodeBlock(mustEncode(t, want...))
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, batch := range want {
				count += batch.Count
			}
			if diff := cmp.Diff(journal.Block{Batches: want, Records: count}, b, sameBlock); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			b.Release()
			if b.Batches != nil {
				t.Error("Release left batches")
			}
		})
	}
}

func TestEncodeBlockRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string][]journal.Batch{
		"too many records": {{Records: []byte("a"), Count: event.MaxBlockRecords}, {Records: []byte("a"), Count: 1}},
		"too many bytes":   {{Records: make([]byte, 24<<20), Count: 1}},
		"no record":        {{Records: []byte("a")}},
		"no bytes":         {{Count: 1}},
	}
	for name, batches := range tests {
		if _, err := journal.EncodeBlock(nil, batches); err == nil {
			t.Errorf("EncodeBlock with %s: no error", name)
		}
	}
}

// block builds a block field by field, with a checksum that is right.
func block(version, codec byte, batches, recordCount, rawLen uint32, body []byte) []byte {
	b := []byte{'E', 'Y', 'E', 'J', version, codec, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, batches)
	b = binary.LittleEndian.AppendUint32(b, recordCount)
	b = binary.LittleEndian.AppendUint32(b, rawLen)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func TestDecodeBlockRefuses(t *testing.T) {
	t.Parallel()
	good := mustEncode(t, journal.Batch{Records: records(500), Count: 3})
	flags := block(1, 0, 1, 1, 3, []byte{1, 1, 'a'})
	flags[6] = 1
	flags = binary.LittleEndian.AppendUint32(flags[:len(flags)-4], crc32.Checksum(flags[:len(flags)-4], crc32.MakeTable(crc32.Castagnoli)))
	tests := []struct {
		name  string
		data  []byte
		error string
	}{
		{"empty", nil, "not a block"},
		{"something else", []byte(`{"hello":"this is JSON and no block"}`), "not a block"},
		{"cut", good[:len(good)-1], "checksum"},
		{"newer", block(2, 0, 1, 1, 3, []byte{1, 1, 'a'}), "format 2"},
		{"reserved bits", flags, "inconsistent"},
		{"codec", block(1, 7, 1, 1, 3, []byte{1, 1, 'a'}), "codec 7"},
		{"raw length beyond the limit", block(1, 1, 1, 1, 1<<31, []byte{1, 1, 'a'}), "inconsistent"},
		{"raw length wrong", block(1, 0, 1, 1, 4, []byte{1, 1, 'a'}), "inconsistent"},
		{"compressed length wrong", block(1, 1, 1, 1, 4, s2.Encode(nil, []byte{1, 1, 'a'})), "inconsistent"},
		{"compressed body broken", block(1, 1, 1, 1, 3, []byte{3, 0xff, 0xff}), "inconsistent"},
		{"too many records", block(1, 0, 1, 65537, 3, []byte{1, 1, 'a'}), "inconsistent"},
		{"more batches than bytes", block(1, 0, 60000, 60000, 3, []byte{1, 1, 'a'}), "inconsistent"},
		{"more batches than records", block(1, 0, 2, 1, 6, []byte{1, 1, 'a', 1, 1, 'b'}), "inconsistent"},
		{"batch without records", block(1, 0, 1, 1, 3, []byte{0, 1, 'a'}), "inconsistent"},
		{"batch without bytes", block(1, 0, 1, 1, 3, []byte{1, 0, 'a'}), "inconsistent"},
		{"batch beyond the end", block(1, 0, 1, 1, 3, []byte{1, 2, 'a'}), "inconsistent"},
		{"bytes left over", block(1, 0, 1, 1, 4, []byte{1, 1, 'a', 'b'}), "inconsistent"},
		{"records left over", block(1, 0, 1, 2, 3, []byte{1, 1, 'a'}), "inconsistent"},
		{"number without end", block(1, 0, 1, 1, 3, []byte{0x80, 0x80, 0x80}), "inconsistent"},
	}
	for _, tt := range tests {
		if _, err := journal.DecodeBlock(tt.data); err == nil || !strings.Contains(err.Error(), tt.error) {
			t.Errorf("%s: DecodeBlock = %v; want an error with %q", tt.name, err, tt.error)
		}
	}
	if _, err := journal.DecodeBlock(tests[3].data); !errors.Is(err, journal.ErrNewerFormat) {
		t.Errorf("DecodeBlock(newer) = %v; want ErrNewerFormat", err)
	}
}

func TestDecodeBlockFindsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	good := mustEncode(t, journal.Batch{Records: records(300), Count: 3})
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := journal.DecodeBlock(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped: no error", bit, i)
			}
		}
	}
}

// TestFormatExample keeps the worked example of the format's page true.
func TestFormatExample(t *testing.T) {
	t.Parallel()
	var records strings.Builder
	for range 8 {
		records.WriteString("page view ")
	}
	data := mustEncode(t, journal.Batch{Records: []byte("hello"), Count: 1}, journal.Batch{Records: []byte(records.String()), Count: 8})
	page, err := os.ReadFile("../../docs/format/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := hex.Dump(data); !strings.Contains(string(page), want) {
		t.Errorf("docs/format/journal.md lacks this dump:\n%s", want)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(mustEncode(f), false)
	f.Add(mustEncode(f, journal.Batch{Records: records(500), Count: 3}, journal.Batch{Records: []byte("x"), Count: 1}), false)
	f.Add(mustEncode(f, journal.Batch{Records: random(50), Count: 1}), true)
	f.Add(block(1, 1, 1, 1, 1<<24, []byte{0x80, 0x80, 0x80, 8, 0xff}), true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal && len(data) >= 24 { // get past the checksum
			sum := crc32.Checksum(data[:len(data)-4], crc32.MakeTable(crc32.Castagnoli))
			data = binary.LittleEndian.AppendUint32(bytes.Clone(data[:len(data)-4]), sum)
		}
		b, err := journal.DecodeBlock(data)
		if err != nil {
			return
		}
		again, err := journal.EncodeBlock(nil, b.Batches)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		c, err := journal.DecodeBlock(again)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v", err)
		}
		if diff := cmp.Diff(b, c, sameBlock); diff != "" {
			t.Errorf("decoded again (-first +second):\n%s", diff)
		}
	})
}

// sizes are blocks as they occur: 512 waiting single events, and a full one.
var sizes = []struct{ batches, bytes int }{{512, 450}, {90, 45_000}}

func BenchmarkEncodeBlock(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprintf("%dx%d", s.batches, s.bytes), func(b *testing.B) {
			batches, total := sample(s.batches, s.bytes)
			encode := journal.Reencoder()
			b.SetBytes(int64(total))
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = len(encode(batches))
			}
			b.ReportMetric(float64(total)/float64(size), "ratio")
		})
	}
}

func BenchmarkDecodeBlock(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprintf("%dx%d", s.batches, s.bytes), func(b *testing.B) {
			batches, total := sample(s.batches, s.bytes)
			data := mustEncode(b, batches...)
			b.SetBytes(int64(total))
			b.ReportAllocs()
			for b.Loop() {
				block, err := journal.DecodeBlock(data)
				if err != nil {
					b.Fatal(err)
				}
				block.Release()
			}
		})
	}
}

func sample(n, size int) ([]journal.Batch, int) {
	all := records(n * size)
	var batches []journal.Batch
	for i := range n {
		batches = append(batches, journal.Batch{Records: all[i*size : (i+1)*size], Count: max(size/450, 1)})
	}
	return batches, n * size
}
