package journal

import "time"

// FileSystem is what a test says about the disk.
type FileSystem = fileSystem

// WithStatfs replaces the look at the disk.
func (o Options) WithStatfs(f func(dir string) (FileSystem, error)) Options {
	o.statfs = f
	return o
}

// WithTimeouts shortens the wait for acknowledgements.
func (o Options) WithTimeouts(ack, commit time.Duration) Options {
	o.ackTimeout, o.commitTimeout = ack, commit
	return o
}

// StatEvery is how often the disk is looked at.
const StatEvery = statEvery

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
