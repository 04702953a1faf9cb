package client

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Compression of request bodies.
type Compression string

// The compressions.
const (
	Uncompressed Compression = ""
	Zstd         Compression = "zstd"
	Gzip         Compression = "gzip"
)

// compressor compresses whole bodies; nil leaves them as they are. It is safe
// for concurrent use.
type compressor func(body []byte) ([]byte, error)

// minCompressed is the size from which compression is worth its trouble.
const minCompressed = 1 << 10

// compressor of that name.
func (c Compression) compressor() (compressor, error) {
	switch c {
	case Uncompressed:
		return nil, nil
	case Zstd:
		w, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(1<<20))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return func(body []byte) ([]byte, error) {
			return w.EncodeAll(body, make([]byte, 0, len(body)/3)), nil
		}, nil
	case Gzip:
		pool := sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
		return func(body []byte) ([]byte, error) {
			w := pool.Get().(*gzip.Writer)
			defer pool.Put(w)
			var b bytes.Buffer
			w.Reset(&b)
			if _, err := w.Write(body); err != nil {
				return nil, fmt.Errorf("gzip: %w", err)
			}
			if err := w.Close(); err != nil {
				return nil, fmt.Errorf("gzip: %w", err)
			}
			return b.Bytes(), nil
		}, nil
	}
	return nil, fmt.Errorf("unknown compression %q: use zstd, gzip or none", string(c))
}

// newBody reads b. Every try gets a reader of its own: a transport may read
// the body of a try that has already failed.
func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
