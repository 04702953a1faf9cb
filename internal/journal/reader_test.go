package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

func TestReaderWaitsForNewBlocks(t *testing.T) {
	t.Parallel()
	j := start(t, journal.Options{})
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next of an empty journal = %v; want deadline exceeded", err)
	}
	for i := range 100 {
		mustAppend(t, j, fmt.Sprint(i), 1)
		if n := r.Buffered(); n != 1 {
			t.Errorf("Buffered = %d; want 1", n)
		}
		b, err := next(t, r)
		if err != nil || b.Sequence != uint64(i+1) || string(b.Batches[0].Records) != fmt.Sprint(i) {
			t.Fatalf("Next = block %d, %v; want block %d", b.Sequence, err, i+1)
		}
		if n := r.Buffered(); n != 0 {
			t.Errorf("Buffered = %d; want 0", n)
		}
	}
}

func TestReadStartsBehindAPosition(t *testing.T) {
	t.Parallel()
	j := start(t, journal.Options{})
	for i := range 100 {
		mustAppend(t, j, fmt.Sprint(i), 1)
	}
	got := readAll(t, j, 60)
	if len(got) != 40 || got[event.At(61, 0)] != "60" {
		t.Errorf("read %d batches; want 40 from block 61", len(got))
	}
	if got := readAll(t, j, 100); len(got) != 0 {
		t.Errorf("read %d batches behind the end; want 0", len(got))
	}
	if _, err := j.Read(t.Context(), 101); !errors.Is(err, journal.ErrAhead) {
		t.Errorf("Read(101) = %v; want ErrAhead", err)
	}
}

func TestReaderTellsGapsAndForeignMessages(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	end := run(t, j)
	for i := range 9 {
		mustAppend(t, j, fmt.Sprint(i), 1)
	}
	if _, err := s.JetStream().Publish(t.Context(), journal.DefaultStream, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "last", 1)
	end()
	stream, err := s.JetStream().Stream(t.Context(), journal.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1, 2, 5} {
		if err := stream.DeleteMsg(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for r.Buffered() > 0 {
		b, err := next(t, r)
		if err != nil {
			got = append(got, err.Error())
			if c, ok := errors.AsType[*journal.CorruptError](err); ok && (c.Sequence != 10 || !errors.Is(err, journal.ErrCorrupt)) {
				t.Errorf("damaged block %d; want 10", c.Sequence)
			}
			continue
		}
		got = append(got, fmt.Sprint(b.Sequence))
	}
	want := []string{"journal blocks 1 to 2 are missing", "3", "4", "journal blocks 5 to 5 are missing", "6", "7", "8", "9",
		"journal block 10: not a block of this journal", "11"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read\n%q; want\n%q", got, want)
	}
	if _, err := j.Block(t.Context(), 10); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("Block(10) = %v; want ErrCorrupt", err)
	}
}

// A flipped bit makes the server drop messages silently. The reader has to say
// which, whatever the server makes of its file.
func TestFlippedBitOnDisk(t *testing.T) {
	t.Parallel()
	const blocks = 30
	for name, damaged := range map[string]uint64{"first": 1, "middle": 13, "last": blocks} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFlippedBit(t, blocks, damaged)
		})
	}
}

func testFlippedBit(t *testing.T, blocks, damaged uint64) {
	dir := t.TempDir()
	s, stop := serverAt(t, dir)
	j := open(t, s, journal.Options{})
	end := run(t, j)
	text := func(block uint64) string { return fmt.Sprintf("find me %02d", block) }
	for i := range blocks {
		mustAppend(t, j, text(i+1), 1)
	}
	end()
	stop()
	flipBit(t, dir, text(damaged))

	s, _ = serverAt(t, dir)
	j = open(t, s, journal.Options{})
	state, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read, told := uint64(0), uint64(0)
	for r.Buffered() > 0 {
		b, err := next(t, r)
		if gap, ok := errors.AsType[*journal.GapError](err); ok {
			told += gap.Last - gap.First + 1
			continue
		}
		if errors.Is(err, journal.ErrCorrupt) {
			told++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
		if b.Sequence == damaged || string(b.Batches[0].Records) != text(b.Sequence) {
			t.Errorf("block %d holds %q; want %q, and not the damaged one", b.Sequence, b.Batches[0].Records, text(b.Sequence))
		}
	}
	// What the server cut off at the end shows in its last sequence number:
	// the store compares its own position with it.
	cut := blocks - state.Last
	t.Logf("%d read, %d told missing, %d cut off", read, told, cut)
	if read+told+cut != blocks || told+cut == 0 {
		t.Errorf("%d read, %d told missing, %d cut off; want %d in all, and some damaged", read, told, cut, blocks)
	}
	if cut > 0 {
		if _, err := j.Read(t.Context(), blocks); !errors.Is(err, journal.ErrAhead) {
			t.Errorf("Read(%d) = %v; want ErrAhead", blocks, err)
		}
	}
}

// flipBit changes one bit of the record with that text in the stream's files.
func flipBit(t *testing.T, dir, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, journal.ServerDir, journal.DefaultStream, "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte(text))
		if at < 0 {
			continue
		}
		data[at] ^= 4
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%q is in none of %d files", text, len(files))
}

func TestReaderOutlastsItsConsumer(t *testing.T) {
	t.Parallel()
	s, _ := serverAt(t, t.TempDir())
	j := open(t, s, journal.Options{})
	run(t, j)
	r, err := j.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	mustAppend(t, j, "1", 1)
	if b, err := next(t, r); err != nil || b.Sequence != 1 {
		t.Fatalf("Next = block %d, %v; want 1", b.Sequence, err)
	}
	stream, err := s.JetStream().Stream(t.Context(), journal.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, j, "2", 1)
	if b, err := next(t, r); err != nil || b.Sequence != 2 {
		t.Errorf("Next = block %d, %v; want 2", b.Sequence, err)
	}
}
