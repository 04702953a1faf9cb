package duckdb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
)

// smallSegments seal and checkpoint all the time.
var smallSegments = duckdb.Options{SegmentEvents: 200, WALBytes: 1 << 20}

// ofBlock is the batch of one block of the fault tests: perBlock events of a
// hundred sessions, and one refusal.
const perBlock = 50

func ofBlock(block uint64) *store.Batch {
	b := &store.Batch{Block: block}
	for i := range perBlock {
		n := int(block)*perBlock + i
		b.Events = append(b.Events, event.Event{
			Application: "shop", ID: fmt.Sprint(n), SessionID: fmt.Sprint("session ", n%100), Category: "c", Name: "n",
			Data: []byte(`{"filling":"` + strings.Repeat(fmt.Sprint(n), 100) + `"}`), Timestamp: event.Micros(n), Sequence: event.NoSequence,
			ReceivedAt: event.Micros(n), Position: event.At(block, i),
		})
	}
	b.Refusals = []event.Refusal{{Application: "shop", Position: event.At(block, perBlock), Violations: []event.Violation{{Code: event.Required}}}}
	b.Counts = []store.Count{{Minute: event.Micros(block/10) * 60_000_000, Application: "shop", Received: perBlock + 1, Stored: perBlock, Quarantined: 1}}
	return b
}

// expectBlocks fails unless the store has exactly the blocks 1 to n.
func expectBlocks(t *testing.T, s *duckdb.Store, n uint64) {
	t.Helper()
	ctx := t.Context()
	if block, err := s.CommittedBlock(ctx); block != n || err != nil {
		t.Errorf("CommittedBlock() = %d, %v; want %d", block, err, n)
	}
	if size, err := s.Size(ctx); err != nil || size.Events != int64(n)*perBlock || size.Quarantined != int64(n) {
		t.Errorf("Size() = %+v, %v; want %d events, %d quarantined", size, err, n*perBlock, n)
	}
	var stored, received int64
	counts, err := s.Ledger(ctx, 0, 1<<60)
	if err != nil {
		t.Errorf("Ledger() = %v", err)
	}
	for _, c := range counts {
		stored += c.Stored
		received += c.Received
	}
	if stored != int64(n)*perBlock || received != int64(n)*(perBlock+1) {
		t.Errorf("the ledger has %d stored of %d; want %d of %d", stored, received, n*perBlock, n*(perBlock+1))
	}
	var keys []event.Key
	var want []event.Position
	for block := uint64(1); block <= n; block++ {
		for _, e := range ofBlock(block).Events {
			keys, want = append(keys, e.Key()), append(want, e.Position)
		}
	}
	originals, err := s.Existing(ctx, append(keys, event.Key{Application: "shop", ID: "unknown"}))
	if err != nil {
		t.Fatalf("Existing() = %v", err)
	}
	for i, p := range want {
		if originals[i].Position != p {
			t.Fatalf("Existing(%v) = %d; want %d", keys[i], originals[i].Position, p)
		}
	}
	if p := originals[len(want)].Position; p != 0 {
		t.Errorf("Existing(unknown) = %d; want 0", p)
	}
	sessions, err := s.Sessions(ctx, store.SessionQuery{Limit: 1000})
	if err != nil {
		t.Fatalf("Sessions() = %v", err)
	}
	var inSessions int64
	for _, one := range sessions {
		inSessions += one.Events
	}
	if inSessions != int64(n)*perBlock {
		t.Errorf("sessions have %d events; want %d", inSessions, n*perBlock)
	}
	rows, err := s.Events(ctx, store.EventQuery{Filter: store.Filter{SessionID: "session 7"}, Limit: 100_000})
	if err != nil {
		t.Fatalf("Events(session 7) = %v", err)
	}
	if int64(len(rows)) != int64(n)*perBlock/100 && n%2 == 0 {
		t.Errorf("session 7 has %d events; want %d", len(rows), n*perBlock/100)
	}
	for i, r := range rows {
		if r.Place != int64(i+1) {
			t.Errorf("place of %s = %d; want %d", r.ID, r.Place, i+1)
		}
	}
}

// TestKilled kills a process that appends as fast as it can, at any moment, and
// finds everything that it had committed, and whole batches only.
func TestKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("EYE_TEST_APPEND"); dir != "" {
		appendForEver(t, dir)
		return
	}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	for round := range rounds {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "EYE_TEST_APPEND="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		blocks := 1 + rand.IntN(60)
		var committed uint64
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "committed %d", &committed); err == nil {
				if blocks--; blocks == 0 {
					break
				}
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatalf("round %d: the child ended by itself", round)
		}
		s := open(t, dir, smallSegments)
		block, err := s.CommittedBlock(t.Context())
		if err != nil || block < committed {
			t.Errorf("round %d: CommittedBlock() = %d, %v; want at least %d", round, block, err, committed)
		}
		expectBlocks(t, s, block)
		if err := s.Close(); err != nil {
			t.Errorf("round %d: Close() = %v", round, err)
		}
		if t.Failed() {
			return
		}
	}
}

// appendForEver is the child of TestKilled.
func appendForEver(t *testing.T, dir string) {
	s := open(t, dir, smallSegments)
	block, err := s.CommittedBlock(t.Context())
	for err == nil {
		block++
		if err = s.Append(t.Context(), ofBlock(block)); err == nil {
			_, err = fmt.Println("committed", block)
		}
	}
	t.Fatal(err)
}

// TestDiskFull lets writes fail half way, and finds that nothing is lost, and
// that it goes on once there is room. The limit on the size of files stands in
// for the full disk; it holds for a whole process, so the test runs in another.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("EYE_TEST_DISK_FULL"); dir != "" {
		fillDisk(t, dir)
		return
	}
	for _, limit := range []int{600 << 10, 1500 << 10, 4 << 20} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
		child.Env = append(os.Environ(), "EYE_TEST_DISK_FULL="+t.TempDir(), fmt.Sprint("EYE_TEST_LIMIT=", limit))
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("limit %d: %v\n%s", limit, err, out)
		}
	}
}

func fillDisk(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(bytes uint64) {
		t.Helper()
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &now); err != nil {
			t.Fatal(err)
		}
		now.Cur = min(bytes, now.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, smallSegments)
	var block uint64
	fill := func(until uint64) error {
		for block < until {
			if err := s.Append(t.Context(), ofBlock(block+1)); err != nil {
				return err
			}
			block++
		}
		return nil
	}
	if err := fill(4); err != nil {
		t.Fatal(err)
	}
	limit(uint64(fromEnv("EYE_TEST_LIMIT", 1<<20)))
	err := fill(1000)
	if err == nil {
		t.Fatal("Append() on a full disk = nil; want an error")
	}
	t.Logf("full after block %d: %v", block, err)
	for range 5 { // it stays full, the processor tries again
		if errors.Is(err, store.ErrBroken) {
			if err := s.Close(); err != nil {
				t.Logf("Close() of a broken store = %v", err)
			}
			break
		}
		if rows, err := s.Events(t.Context(), store.EventQuery{Limit: 10}); err != nil || len(rows) != 10 {
			t.Errorf("Events() on a full disk = %d rows, %v; want 10", len(rows), err)
		}
		err = s.Append(t.Context(), ofBlock(block+1))
	}
	limit(1 << 40)
	if errors.Is(err, store.ErrBroken) {
		s = open(t, dir, smallSegments)
		committed, err := s.CommittedBlock(t.Context())
		if err != nil || committed < block {
			t.Fatalf("CommittedBlock() = %d, %v; want at least %d", committed, err, block)
		}
		block = committed
	}
	if err := fill(block + 20); err != nil {
		t.Fatalf("Append() with room again = %v", err)
	}
	expectBlocks(t, s, block)
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	s = open(t, dir, smallSegments)
	expectBlocks(t, s, block)
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
}

// TestFileGone removes or replaces the file of an open store.
func TestFileGone(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("other"), 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir, duckdb.Options{})
			for block := range uint64(3) {
				if err := s.Append(t.Context(), ofBlock(block+1)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Check(t.Context()); err != nil {
				t.Fatalf("Check() = %v; want nil", err)
			}
			path := filepath.Join(dir, "store.duckdb")
			if err := act(path); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); !errors.Is(err, store.ErrBroken) {
				t.Errorf("Check() = %v; want ErrBroken", err)
			}
			if err := s.Append(t.Context(), ofBlock(4)); !errors.Is(err, store.ErrBroken) {
				t.Errorf("Append() = %v; want ErrBroken", err)
			}
			if _, err := s.Events(t.Context(), store.EventQuery{Limit: 1}); !errors.Is(err, store.ErrBroken) {
				t.Errorf("Events() = %v; want ErrBroken", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			os.Remove(path)
			s = open(t, dir, duckdb.Options{})
			expectBlocks(t, s, 0)
			if err := s.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		})
	}
}

// alter runs SQL on the file of a closed store. Opened by itself, the file's
// catalog is called store, as the schema is.
func alter(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("duckdb", filepath.Join(dir, "store.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSegmentsAreBuiltAnew(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{
		"DELETE FROM store.store.segments",
		"DELETE FROM store.store.filters",
		"DELETE FROM store.store.filters WHERE first_position = (SELECT max(first_position) FROM store.store.filters)",
		"DELETE FROM store.store.segments; DELETE FROM store.store.filters; DELETE FROM store.store.session_spans",
	} {
		dir := t.TempDir()
		s := open(t, dir, smallSegments)
		for block := range uint64(60) {
			if err := s.Append(t.Context(), ofBlock(block+1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		alter(t, dir, lost)
		s = open(t, dir, smallSegments)
		expectBlocks(t, s, 60)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir, duckdb.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, dir, "UPDATE store.store.meta SET format = 1000")
	s, err := duckdb.Open(t.Context(), duckdb.Options{Path: filepath.Join(dir, "store.duckdb")})
	if err == nil {
		s.Close()
		t.Fatal("Open(newer format) = nil; want an error")
	}
	if !strings.Contains(err.Error(), "format 1000") {
		t.Errorf("Open(newer format) = %v; want it to name the format", err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	dir := t.TempDir()
	for range 2 { // the metrics find room again
		s := open(t, dir, duckdb.Options{Registerer: registry})
		if n, err := registry.Gather(); err != nil || len(n) == 0 {
			t.Errorf("Gather() = %d families, %v; want some", len(n), err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		}
		if err := s.Append(context.Background(), ofBlock(1)); err == nil {
			t.Error("Append() after Close = nil; want an error")
		}
		if _, err := s.Existing(context.Background(), nil); err == nil {
			t.Error("Existing() after Close = nil; want an error")
		}
		if _, err := s.Events(context.Background(), store.EventQuery{Limit: 1}); err == nil {
			t.Error("Events() after Close = nil; want an error")
		}
	}
}
