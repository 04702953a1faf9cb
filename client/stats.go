package client

import "sync"

// Stats is what a Sender has done so far. Every event that was handed to Send
// is counted in exactly one of Queued, Accepted, Refused and Dropped.
type Stats struct {
	Queued   int64 // waiting or under way
	Accepted int64 // on the server's disk
	Refused  int64 // in the server's quarantine
	Dropped  Drops // gone
	Retried  int64 // requests, not events, that were repeated
}

// Drops counts dropped events by reason.
type Drops struct {
	QueueFull int64 // Send found no room
	Invalid   int64 // Send could not encode it, or it is larger than the queue
	Denied    int64 // the server does not take it from this client, e.g. because of its key
	GaveUp    int64 // it was repeated for GiveUpAfter
	Closed    int64 // it was sent after Close, or Close had no time left for it
}

// Total is the number of all dropped events.
func (d Drops) Total() int64 { return d.QueueFull + d.Invalid + d.Denied + d.GaveUp + d.Closed }

// counts are the Stats while they change.
type counts struct {
	mu    sync.Mutex
	stats Stats // guarded by mu
	lost  int64 // guarded by mu; the part of Drops.Closed that had been queued
}

// add changes the counts in one step, so that readers never see an event twice
// or not at all.
func (c *counts) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// addLost counts a queued event that Close has cut short.
func (c *counts) addLost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Queued--
	c.stats.Dropped.Closed++
	c.lost++
}

// cutShort is the number of queued events that Close has cut short.
func (c *counts) cutShort() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Stats returns what the Sender has done so far.
func (s *Sender) Stats() Stats {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return s.counts.stats
}
