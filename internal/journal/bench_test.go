package journal_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/journal"
)

// BenchmarkAppend has so many callers in a closed loop; every append is synced.
// events/s counts 450 bytes as one event.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		for _, size := range []int{450, 45_000} {
			b.Run(fmt.Sprintf("callers=%d/bytes=%d", callers, size), func(b *testing.B) {
				j := start(b, journal.Options{MaxBytes: 2 << 30})
				count := max(size/450, 1)
				all := records(64 * size) // not one text over and over
				keep := trimmer(b, j)
				defer keep()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for i := range min(callers, b.N) {
					data := all[i%64*size:][:size]
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := j.Append(b.Context(), data, count); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N*count)/b.Elapsed().Seconds(), "events/s")
				if s, err := j.State(b.Context()); err == nil {
					b.ReportMetric(float64(b.N)/float64(max(s.Last, 1)), "batches/block")
				}
			})
		}
	}
}

// trimmer keeps the journal small, as a store that follows would.
func trimmer(b *testing.B, j *journal.Journal) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if s, err := j.State(ctx); err == nil {
				j.Trim(ctx, s.Last)
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// BenchmarkReplay reads a journal of blocks of 512 events from its beginning.
func BenchmarkReplay(b *testing.B) {
	const blocks, perBlock, size = 500, 512, 450
	s, _ := serverAt(b, b.TempDir())
	j := open(b, s, journal.Options{})
	batches, total := sample(perBlock, size)
	data := mustEncode(b, batches...)
	for i := range blocks {
		if _, _, err := j.Publish(fmt.Sprint(i), data); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(total) * blocks)
	b.ReportAllocs()
	for b.Loop() {
		r, err := j.Read(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		for range blocks {
			block, err := r.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			block.Release()
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N*blocks*perBlock)/b.Elapsed().Seconds(), "events/s")
}
