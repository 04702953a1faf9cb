// Package journal is the durable log that every record passes on its way in:
// what Append has acknowledged is there after any crash, in one total order.
//
//	Append ─┐
//	Append ─┼─▶ waiting queue ─▶ Run: one block ─▶ JetStream ─▶ fsync ─▶ positions
//	Append ─┘      (bounded)      (S2, CRC-32C)     (or quorum)
//
// The log itself is a NATS JetStream stream, embedded without a port or
// external. Callers that wait together are committed together: their batches
// become one block, one message, one fsync. Exactly one block is under way at a
// time and nothing lingers for company, because whoever arrives during a commit
// waits for the next block anyway.
//
// A record's place is its event.Position: the sequence number of its block in
// the stream and its index in the block. The bytes of a block are described in
// docs/format/journal.md; what the records inside mean is not known here.
//
// The journal removes no duplicates of events and interprets nothing. It stores
// a block at most once for each commit, but a caller that got ErrUnavailable
// does not know whether its records are in: repeating them with the same event
// ids is harmless, since the processor drops duplicates.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options.
const (
	DefaultStream        = "EYE_JOURNAL"
	DefaultRetention     = 24 * time.Hour
	DefaultMaxQueueBytes = 64 << 20
)

const (
	// duplicateWindow is how long the server remembers the ids of blocks. The
	// committer gives up on a block after commitTimeout, so this is ample;
	// longer would cost memory for each of thousands of blocks a second.
	duplicateWindow = 10 * time.Second

	// ackTimeout is how long one attempt waits for the server's answer, and
	// commitTimeout how long all attempts for one block may take. Ingest owes
	// its clients an answer within 5 s.
	ackTimeout    = 2 * time.Second
	commitTimeout = 4 * time.Second

	// targetRawBytes is where a block stops taking more batches. Larger blocks
	// do not compress better and make everybody wait for the first.
	targetRawBytes = 4 << 20

	// formatKey is where the stream's metadata holds the format of its blocks.
	formatKey = "eye.journal.format"
)

// Options say how the journal is kept. The zero value is usable.
type Options struct {
	Stream   string // name of the stream, and its only subject; DefaultStream
	Replicas int    // copies in a cluster, 1 or 3 or 5; 1

	// MaxBytes bounds the stream; beyond it Append answers ErrFull. It must be
	// below what the server may store. 0: a quarter of the file system of Dir,
	// at least 256 MiB, at most 64 GiB and half of what the server may store;
	// 8 GiB when there is no Dir.
	MaxBytes int64

	// Dir is where an embedded server keeps its files; its free space is
	// watched. "" takes the server's; for an external server nothing is watched.
	Dir string
	// MinFreeBytes is the free space below which nothing is written: a disk
	// that really fills up leaves JetStream failed until it is restarted.
	// 0: 5 % of the file system, at least 64 MiB and at most 1 GiB.
	MinFreeBytes int64

	// Synced says that an external server syncs before it acknowledges, for
	// when it cannot be asked. With one replica Open refuses without either.
	Synced bool

	// Retention is how long a processed block is kept all the same, so that a
	// lost store can be filled again; DefaultRetention.
	Retention time.Duration

	// MaxQueueBytes bounds what may wait for a commit, each waiting batch
	// counted with 1 KiB on top; DefaultMaxQueueBytes.
	MaxQueueBytes int64

	Log        *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics are kept but not published

	// For tests.
	statfs        func(dir string) (fileSystem, error)
	now           func() time.Time // for the age of blocks and of looks at the disk
	ackTimeout    time.Duration
	commitTimeout time.Duration
}

// Journal is an open journal. Its methods are safe for concurrent use, except
// that Run is called once.
type Journal struct {
	log     *slog.Logger
	js      jetstream.JetStream // for everything but blocks
	pub     jetstream.JetStream // for blocks: its pending acks time out
	conn    *nats.Conn
	name    string // of the stream and its subject
	inside  bool   // the server runs in this process
	opts    Options
	metrics *metrics

	maxAppendBytes int
	targetRawBytes int

	mu       sync.Mutex
	queue    queue // guarded by mu
	draining bool  // guarded by mu

	wake    chan struct{} // has a token when the queue may hold something
	started atomic.Bool

	disk   disk
	health health
	last   atomic.Uint64 // highest sequence known to be in the stream

	// Touched only by Run.
	enc   encoder
	group []*waiter
	msg   nats.Msg
	runID string
	count uint64 // blocks handed to the server by this run
	acked uint64 // the last sequence that Open found or the server acknowledged
}

// Open creates or updates the stream and makes the journal ready for Run. It
// refuses a stream of a newer format, one that the server does not sync, and
// limits that cannot hold.
func Open(ctx context.Context, s *Server, o Options) (*Journal, error) {
	if err := o.setDefaults(s); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	payload := int(s.conn.MaxPayload()) - messageOverhead
	maxAppend := min(maxBlockBytes, payload) - blockOverhead - batchOverhead
	if maxAppend < 64<<10 {
		return nil, fmt.Errorf("open journal: the server's max_payload of %d bytes is too small; set it to %d", s.conn.MaxPayload(), maxPayload)
	}
	if maxAppend < 16<<20 {
		o.Log.Warn("the journal server's max_payload is below the largest request",
			"max_payload", s.conn.MaxPayload(), "recommended", maxPayload)
	}
	j := &Journal{
		log:            o.Log,
		js:             s.js,
		conn:           s.conn,
		name:           o.Stream,
		inside:         s.Embedded(),
		opts:           o,
		maxAppendBytes: maxAppend,
		targetRawBytes: min(targetRawBytes, maxAppend),
		wake:           make(chan struct{}, 1),
		disk:           disk{dir: o.Dir, minFree: o.MinFreeBytes, statfs: o.statfs, now: o.now},
		msg:            nats.Msg{Subject: o.Stream, Header: nats.Header{}},
	}
	if err := j.open(ctx, s); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	var id [12]byte
	rand.Read(id[:])
	j.runID = hex.EncodeToString(id[:]) + "."
	var err error
	if j.pub, err = jetstream.New(s.conn, jetstream.WithPublishAsyncTimeout(o.ackTimeout)); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if j.metrics, err = newMetrics(j, o.Registerer); err != nil {
		return nil, fmt.Errorf("open journal: register metrics: %w", err)
	}
	if err := j.checkLast(ctx); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

func (o *Options) setDefaults(s *Server) error {
	if o.Stream == "" {
		o.Stream = DefaultStream
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Dir == "" && s.Embedded() {
		o.Dir = s.dir
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.MaxQueueBytes == 0 {
		o.MaxQueueBytes = DefaultMaxQueueBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.statfs == nil {
		o.statfs = statfs
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.ackTimeout == 0 {
		o.ackTimeout = ackTimeout
	}
	if o.commitTimeout == 0 {
		o.commitTimeout = commitTimeout
	}
	var fs fileSystem
	if o.Dir != "" {
		var err error
		if fs, err = o.statfs(o.Dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("measure the disk of %s: %w", o.Dir, err)
		}
	}
	if o.MinFreeBytes == 0 && fs.Total > 0 {
		o.MinFreeBytes = min(max(fs.Total/20, 64<<20), 1<<30)
	}
	if o.MaxBytes == 0 && fs.Total == 0 {
		o.MaxBytes = 8 << 30
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = min(max(fs.Total/4, 256<<20), 64<<30)
		if s.maxStore > 0 {
			o.MaxBytes = min(o.MaxBytes, s.maxStore/2)
		}
	}
	if s.maxStore > 0 && o.MaxBytes >= s.maxStore {
		return fmt.Errorf("the journal may hold %d bytes, which must be less than the %d bytes that the server may store", o.MaxBytes, s.maxStore)
	}
	return nil
}

// open brings the stream into the wanted shape.
func (j *Journal) open(ctx context.Context, s *Server) error {
	stream, err := j.js.Stream(ctx, j.name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return fmt.Errorf("look up stream %s: %w", j.name, err)
	default:
		c := stream.CachedInfo().Config
		if text, ok := c.Metadata[formatKey]; ok {
			if v, err := strconv.Atoi(text); err != nil || v > formatVersion {
				return fmt.Errorf("stream %s: %w: %q, this program knows up to %d", j.name, ErrNewerFormat, text, formatVersion)
			}
		}
		if c.Storage != jetstream.FileStorage {
			return fmt.Errorf("stream %s is not kept in files", j.name)
		}
	}
	stream, err = j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        j.name,
		Description: "events on their way into The Eye; see docs/format/journal.md",
		Subjects:    []string{j.name},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    j.opts.MaxBytes,
		MaxMsgs:     -1,
		MaxMsgSize:  -1,
		Replicas:    j.opts.Replicas,
		Duplicates:  duplicateWindow,
		Compression: jetstream.NoCompression, // ours is faster
		PersistMode: jetstream.DefaultPersistMode,
		AllowDirect: true,
		Metadata:    map[string]string{formatKey: strconv.Itoa(formatVersion)},
	})
	if err != nil {
		return fmt.Errorf("create or update stream %s: %w", j.name, err)
	}
	info := stream.CachedInfo()
	// Asynchronous persistence would switch the server's sync setting off for
	// this one stream, silently.
	if info.Config.PersistMode != jetstream.DefaultPersistMode {
		return fmt.Errorf("stream %s has persist mode %s: acknowledgements would come before the disk has the data", j.name, info.Config.PersistMode)
	}
	if err := s.checkSync(j.name, info.Config.Replicas, j.opts.Synced); err != nil {
		return err
	}
	return nil
}

// checkLast reads the newest block back. A broken one is no reason not to
// start: newer blocks are unharmed, and whoever reads there is told.
func (j *Journal) checkLast(ctx context.Context) error {
	s, err := j.State(ctx)
	j.acked = s.Last
	if err != nil || s.Blocks == 0 {
		return err
	}
	b, err := j.Block(ctx, s.Last)
	switch {
	case err == nil:
		b.Release()
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNotFound):
		j.log.Error("the newest block of the journal is damaged", "block", s.Last, "err", err)
	default:
		return fmt.Errorf("read the newest block: %w", err)
	}
	return nil
}

// State is what the journal holds.
type State struct {
	// First and Last are the sequence numbers of the oldest and the newest
	// block. When nothing is held First is Last+1; Last never goes back, and
	// is 0 only before the first block ever.
	First, Last uint64
	Blocks      uint64
	Bytes       int64
}

// State asks the server what the journal holds.
func (j *Journal) State(ctx context.Context) (State, error) {
	stream, err := j.js.Stream(ctx, j.name)
	if err != nil {
		return State{}, fmt.Errorf("ask for the state of the journal: %w", err)
	}
	return j.noteState(stream.CachedInfo()), nil
}

func (j *Journal) noteState(info *jetstream.StreamInfo) State {
	s := State{
		First:  info.State.FirstSeq,
		Last:   info.State.LastSeq,
		Blocks: info.State.Msgs,
		Bytes:  int64(info.State.Bytes),
	}
	if s.Blocks == 0 {
		s.First = s.Last + 1
	}
	j.noteLast(s.Last)
	j.metrics.noteState(s)
	return s
}

// noteLast remembers that the stream reaches up to last.
func (j *Journal) noteLast(last uint64) {
	for {
		known := j.last.Load()
		if last <= known || j.last.CompareAndSwap(known, last) {
			return
		}
	}
}

// Block reads one block. The error is ErrNotFound when it is not, or no longer,
// there, and matches ErrCorrupt when it cannot be decoded.
func (j *Journal) Block(ctx context.Context, sequence uint64) (Block, error) {
	stream, err := j.js.Stream(ctx, j.name)
	if err != nil {
		return Block{}, fmt.Errorf("read block %d: %w", sequence, err)
	}
	m, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Block{}, fmt.Errorf("block %d: %w", sequence, ErrNotFound)
	}
	if err != nil {
		return Block{}, fmt.Errorf("read block %d: %w", sequence, err)
	}
	return j.decode(m.Sequence, m.Time, m.Data)
}

// decode is DecodeBlock with the block's place, and bad ones counted.
func (j *Journal) decode(sequence uint64, t time.Time, data []byte) (Block, error) {
	b, err := DecodeBlock(data)
	if err != nil {
		j.metrics.corrupt.Inc()
		return Block{}, &CorruptError{Sequence: sequence, Err: err}
	}
	b.Sequence, b.Time = sequence, t
	return b, nil
}

// MaxAppendBytes is the most that one Append can take.
func (j *Journal) MaxAppendBytes() int { return j.maxAppendBytes }
