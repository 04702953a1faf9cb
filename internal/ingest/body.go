package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// framingOf tells from the media type how events follow one another.
func framingOf(contentType string) (event.Framing, *problem.Problem) {
	switch contentType {
	case "application/json":
		return event.JSON, nil
	case "application/x-ndjson", "application/jsonl":
		return event.Lines, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil && media != contentType {
		if _, no := framingOf(media); no == nil { // it has parameters, or capitals
			return framingOf(media)
		}
	}
	return 0, &problem.Problem{
		Status: http.StatusUnsupportedMediaType, Type: "unsupported-media-type", Title: "Unsupported media type",
		Detail: fmt.Sprintf("Content-Type %.100q is not understood. Send application/json (one event or an array), or application/x-ndjson (one event a line).", contentType),
	}
}

// budget bounds the bytes that all requests together hold.
type budget struct {
	used atomic.Int64
	max  int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

// body is the bytes of one request: as they came and, where they were
// compressed, decompressed.
type body struct {
	buf    []byte
	budget *budget
	taken  int64
}

// keepBytes is the largest buffer that is kept for the next request.
const keepBytes = 256 << 10

func (b *body) reset(budget *budget) {
	b.budget, b.taken, b.buf = budget, 0, b.buf[:0]
}

func (b *body) release() {
	b.budget.used.Add(-b.taken)
	b.taken = 0
	if cap(b.buf) > keepBytes {
		b.buf = nil
	}
}

var (
	errTooLarge = errors.New("the body is too large")
	errBusy     = errors.New("too many bytes in flight")
)

// grow makes room for n more bytes, and for most in all at the most.
func (b *body) grow(n, most int) error {
	if cap(b.buf)-len(b.buf) >= n && b.taken >= int64(len(b.buf)+n) {
		return nil
	}
	size := min(most, max(len(b.buf)+n, min(2*len(b.buf), len(b.buf)+4<<20)))
	if !b.budget.take(int64(size) - b.taken) {
		return errBusy
	}
	b.taken = int64(size)
	if cap(b.buf) < size {
		b.buf = append(make([]byte, 0, size), b.buf...)
	}
	return nil
}

// fill reads all of r, at most limit bytes. expect is the length if it is known.
func (b *body) fill(r io.Reader, expect int64, limit int) error {
	if expect > int64(limit) {
		return errTooLarge
	}
	step := 4 << 10
	if expect > 0 {
		step = int(expect) + 1 // the last read then finds the end
	}
	for {
		if len(b.buf) == cap(b.buf) || b.taken <= int64(len(b.buf)) {
			if err := b.grow(step, limit+1); err != nil { // the one finds out that it is too much
				return err
			}
			step = 32 << 10
		}
		n, err := r.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if len(b.buf) > limit {
			return errTooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read reads the body into q.body. Where it returns a problem with q.body set,
// those bytes came but make no sense.
func (q *request) read(w http.ResponseWriter, r *http.Request) *problem.Problem {
	limit := q.h.o.Limits.RequestBytes
	coding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header["Content-Encoding"], ",")))
	switch coding {
	case "", "identity", "gzip", "x-gzip", "zstd":
	default:
		w.Header().Set("Accept-Encoding", "gzip, zstd")
		return &problem.Problem{
			Status: http.StatusUnsupportedMediaType, Type: "unsupported-content-coding", Title: "Unsupported content coding",
			Detail: fmt.Sprintf("Content-Encoding %.100q is not understood. Send gzip, zstd, or no coding.", coding),
		}
	}
	q.sent.reset(&q.h.budget)
	if err := q.sent.fill(r.Body, r.ContentLength, limit); err != nil {
		return q.readProblem(w, err)
	}
	q.body = q.sent.buf
	if coding == "" || coding == "identity" {
		return nil
	}
	q.decoded.reset(&q.h.budget)
	var err error
	if coding == "zstd" {
		err = q.unzstd(limit)
	} else {
		err = q.gunzip(limit)
	}
	switch {
	case err == nil:
		q.body = q.decoded.buf
		return nil
	case errors.Is(err, errTooLarge), errors.Is(err, errBusy):
		q.body = nil
		return q.readProblem(w, err)
	}
	return badRequest(event.Violation{Code: event.InvalidJSON,
		Message: "the body is not the " + coding + " that Content-Encoding announces"})
}

// badRequest is the problem of a body that holds no events.
func badRequest(v event.Violation) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusBadRequest, Type: "invalid-body", Title: "The body holds no events",
		Detail: v.Message, Violations: []event.Violation{v},
	}
}

func (q *request) readProblem(w http.ResponseWriter, err error) *problem.Problem {
	limits := q.h.o.Limits
	switch {
	case errors.Is(err, errTooLarge):
		// What is left of the body is not worth reading.
		w.Header().Set("Connection", "close")
		return tooLarge(fmt.Sprintf("A request may have at most %d bytes after decompression. Send fewer events at once.", limits.RequestBytes))
	case errors.Is(err, errBusy):
		return &problem.Problem{
			Status: http.StatusServiceUnavailable, Type: "busy", Title: "Too much at once",
			Detail:     "Requests in flight hold as many bytes as the server may use. Nothing was accepted; try again shortly.",
			RetryAfter: time.Second,
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return &problem.Problem{
			Status: http.StatusRequestTimeout, Type: "slow-body", Title: "The body came too slowly",
			Detail: "The whole request must arrive within the server's read timeout. Nothing was accepted.",
		}
	}
	return &problem.Problem{
		Status: http.StatusBadRequest, Type: "cut-body", Title: "The body did not arrive whole",
		Detail: "The connection ended, or the chunks were malformed, before the end of the body. Nothing was accepted.",
	}
}

func tooLarge(detail string) *problem.Problem {
	return &problem.Problem{Status: http.StatusRequestEntityTooLarge, Type: "too-large", Title: "Too large", Detail: detail}
}

var gzipReaders sync.Pool // of *gzip.Reader

func (q *request) gunzip(limit int) error {
	src := bytes.NewReader(q.sent.buf)
	z, _ := gzipReaders.Get().(*gzip.Reader)
	var err error
	if z == nil {
		z, err = gzip.NewReader(src)
	} else {
		err = z.Reset(src)
	}
	if err != nil {
		return err
	}
	defer gzipReaders.Put(z)
	return q.decoded.fill(z, -1, limit)
}

var zstdReaders = sync.Pool{New: func() any {
	// One goroutine's worth: the decoder runs in the caller. A window larger
	// than a whole request is of no use to an honest sender.
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(16<<20), zstd.WithDecoderMaxMemory(32<<20))
	if err != nil {
		panic("ingest: the options of zstd are constant: " + err.Error())
	}
	return z
}}

func (q *request) unzstd(limit int) error {
	z := zstdReaders.Get().(*zstd.Decoder)
	defer func() {
		z.Reset(nil) // let go of the body
		zstdReaders.Put(z)
	}()
	if err := z.Reset(bytes.NewReader(q.sent.buf)); err != nil {
		return err
	}
	return q.decoded.fill(z, -1, limit)
}
