package journal

import "time"

// FileSystem is what a test says about the disk.
type FileSystem = fileSystem

// WithStatfs replaces the look at the disk.
func (o Options) WithStatfs(f func(dir string) (FileSystem, error)) Options {
	o.statfs = f
	return o
}

// WithNow replaces the clock.
func (o Options) WithNow(now func() time.Time) Options {
	o.now = now
	return o
}

// WithTimeouts shortens the wait for acknowledgements.
func (o Options) WithTimeouts(ack, commit time.Duration) Options {
	o.ackTimeout, o.commitTimeout = ack, commit
	return o
}

// Publish stores data as one block with the given id, as one more attempt of
// the committer would. It must not be called while Run runs.
func (j *Journal) Publish(id string, data []byte) (sequence uint64, duplicate bool, err error) {
	j.msg.Data = data
	ack, err := j.attempt(id, time.Now().Add(j.opts.commitTimeout))
	if err != nil {
		return 0, false, err
	}
	return ack.Sequence, ack.Duplicate, nil
}

// QueueLen is the number of waiting batches.
func (j *Journal) QueueLen() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for w := j.queue.head; w != nil; w = w.next {
		n++
	}
	return n
}

// ServerDir is where the stream's messages lie below the server's directory.
const ServerDir = "jetstream/$G/streams"

// Reencoder encodes blocks in reused memory, as the committer does.
func Reencoder() func([]Batch) []byte {
	var e encoder
	return func(batches []Batch) []byte {
		e.reset()
		for _, b := range batches {
			e.add(b.Records, b.Count)
		}
		return e.finish()
	}
}
