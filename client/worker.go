package client

import (
	"errors"
	"time"
)

// errCutShort is what OnDropped says about events that Close had no time for.
var errCutShort = errors.New("the sender was closed before the event was accepted")

// work sends batches until the queue is closed and empty.
func (s *Sender) work() {
	var held *item // taken from the queue, but too much for the last batch
	for {
		if held == nil {
			it, open := <-s.items
			if !open {
				return
			}
			held = &it
		}
		var items []item
		items, held = s.collect(*held)
		s.dispatch(items)
	}
}

// collect makes a batch that begins with first. It waits for more no longer
// than first may wait altogether, and not at all once the queue is closed. The
// item that no longer fits is returned for the next batch.
func (s *Sender) collect(first item) (items []item, held *item) {
	items = append(items, first)
	size := len(first.line)
	var late <-chan time.Time
	for len(items) < s.opts.BatchEvents && size < s.opts.BatchBytes {
		var it item
		var open bool
		select {
		case it, open = <-s.items:
		default:
			if late == nil {
				left := s.opts.BatchDelay - time.Since(first.at)
				if left <= 0 {
					return items, nil
				}
				timer := time.NewTimer(left)
				defer timer.Stop()
				late = timer.C
			}
			select {
			case it, open = <-s.items:
			case <-late:
				return items, nil
			}
		}
		if !open {
			return items, nil
		}
		if size+len(it.line) > s.opts.BatchBytes {
			return items, &it
		}
		items = append(items, it)
		size += len(it.line)
	}
	return items, nil
}

// dispatch sends a batch and settles every event of it.
func (s *Sender) dispatch(items []item) {
	lines := make([][]byte, len(items))
	for i := range items {
		lines[i] = items[i].line
	}
	pauses := newPauses(s.opts.GiveUpAfter)
	if s.opts.GiveUpAfter <= 0 {
		pauses.until = time.Time{}
	}
	d := delivery{
		client: s.client,
		again: func(err error) bool {
			pause, ok := pauses.after(err)
			if !ok || s.running.Err() != nil {
				return false
			}
			s.counts.add(func(n *Stats) { n.Retried++ })
			if s.opts.OnRetry != nil {
				s.opts.OnRetry(err, pause)
			}
			return sleep(s.running, pause)
		},
		settle: func(b batch, outcomes []Outcome, err error) bool {
			for i, it := range items[b.first : b.first+len(b.lines)] {
				if err != nil {
					s.drop(it, err)
				} else {
					s.settle(it, outcomes[i])
				}
			}
			return true // the other half of a batch is tried all the same
		},
	}
	d.deliver(s.running, batch{lines: lines})
}

// settle ends an event that the server has answered for.
func (s *Sender) settle(it item, o Outcome) {
	defer s.release(it.room)
	if !o.Refused() {
		s.counts.add(func(n *Stats) { n.Queued--; n.Accepted++ })
		return
	}
	s.counts.add(func(n *Stats) { n.Queued--; n.Refused++ })
	if s.opts.OnRefused != nil {
		s.opts.OnRefused(it.event, o.Receipt, o.Violations)
	}
}

// drop ends an event that the server has not accepted.
func (s *Sender) drop(it item, err error) {
	defer s.release(it.room)
	_, mayRetry := temporary(err)
	switch {
	case s.running.Err() != nil:
		s.counts.addLost()
		err = errors.Join(errCutShort, err)
	case mayRetry:
		s.counts.add(func(n *Stats) { n.Queued--; n.Dropped.GaveUp++ })
	default:
		s.counts.add(func(n *Stats) { n.Queued--; n.Dropped.Denied++ })
	}
	if s.opts.OnDropped != nil {
		s.opts.OnDropped(it.event, err)
	}
}
