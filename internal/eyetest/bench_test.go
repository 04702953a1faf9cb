package eyetest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/eyetest"
)

// BenchmarkReadable sends 1,000 events/s, one a request, for five seconds, and
// reports how long after its acknowledgement an event can be read (the live
// stream shows it once it is stored). The promise is 1 s at the 99th percentile.
func BenchmarkReadable(b *testing.B) {
	const perSecond, seconds, senders = 1000, 5, 50
	s := eyetest.Start(b)
	key := s.NewApplication(b, "web-shop", all...)
	var delays []time.Duration
	for round := 0; b.Loop(); round++ {
		stream := s.Live(b, key, "", "")
		var mu sync.Mutex
		acked, shown := map[string]time.Time{}, map[string]time.Time{}
		var reading sync.WaitGroup
		reading.Go(func() {
			for range perSecond * seconds {
				e, ok := stream.Next()
				if !ok {
					b.Error("the stream ended")
					return
				}
				mu.Lock()
				shown[e.ID] = time.Now()
				mu.Unlock()
			}
		})
		var sending sync.WaitGroup
		for i := range senders {
			sending.Go(func() {
				pace := time.NewTicker(time.Second * senders / perSecond)
				defer pace.Stop()
				for n := range perSecond * seconds / senders {
					id := fmt.Sprintf("e-%d-%d-%d", round, i, n)
					a, err := s.Try(b, "POST", "/v1/events", key, []byte(pageView(id, id[:5], n)))
					if err != nil || a.Status != 202 {
						b.Errorf("sending: %v, %+v", err, a)
						stream.Close()
						return
					}
					mu.Lock()
					acked[id] = time.Now()
					mu.Unlock()
					<-pace.C
				}
			})
		}
		sending.Wait()
		reading.Wait()
		for id, at := range acked {
			delays = append(delays, max(0, shown[id].Sub(at)))
		}
	}
	slices.Sort(delays)
	if n := len(delays); n > 0 {
		b.ReportMetric(float64(delays[n/2].Milliseconds()), "p50-ms")
		b.ReportMetric(float64(delays[n*99/100].Milliseconds()), "p99-ms")
		b.ReportMetric(float64(delays[n-1].Milliseconds()), "max-ms")
	}
}
