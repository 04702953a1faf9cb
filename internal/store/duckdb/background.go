package duckdb

// background is a goroutine that runs at most once at a time. Its owner starts
// it, asks whether it still runs, and waits for it. The zero value runs nothing.
type background struct{ done chan struct{} }

// start runs do beside the caller. The one before must have ended.
func (b *background) start(do func()) {
	done := make(chan struct{})
	b.done = done
	go func() {
		defer close(done)
		do()
	}()
}

func (b *background) running() bool {
	if b.done == nil {
		return false
	}
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

func (b *background) wait() {
	if b.done != nil {
		<-b.done
	}
}
