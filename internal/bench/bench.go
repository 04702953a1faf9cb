// Package bench measures The Eye from outside, over HTTP, and checks that what
// it measured was true.
//
// Ingest sends realistic events as fast as it can or at a set rate, notes every
// acknowledgement, and reads everything back afterwards: a number counts only
// when each acknowledged event is readable exactly once. In the same run the
// same generator is pointed at a handler that does nothing but read the body
// (Bare), so that the ratio of the two holds on any machine. Idle measures a
// server that nobody talks to.
//
//	source ──▶ client (one per connection) ──▶ server
//	              │ answers                      ▲
//	              ▼                              │ pages
//	            book (what was acknowledged) ──▶ readback
//
// The generator shares the machine with what it measures. Therefore it speaks
// HTTP/1.1 over plain connections from prepared buffers. One goroutine a
// connection was as cheap as an epoll loop of its own (11–12 µs a request of
// which nearly all is system calls, 512 connections, two cores, 2026-11-23), so
// it is that.
//
// It talks to loopback addresses only: it is no tool to load other people's
// machines with.
package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Options say what Ingest does. The zero value of a field has the meaning given
// with it; Defaults has the usual values.
type Options struct {
	// URL and Key name a running server and its operator's key. Without them
	// Ingest starts a server of its own, in a new directory below Dir
	// ("" is the system's directory for temporary files).
	URL, Key string
	Dir      string
	Keep     bool   // leave that directory behind
	Program  string // the eye executable; "" is the running one

	Connections int           // parallel connections, each with one request at a time
	Events      int           // events in a request; 1 is a single object, more an array
	Duration    time.Duration // the end of the load, after Warmup …
	Requests    int64         // … or after so many requests, whichever is first; 0: no such limit
	Warmup      time.Duration // load before the numbers count; none when Requests is set
	Rate        float64       // events a second, whatever the answers do (open loop); 0: as fast as answers come
	Bad         float64       // share of events that break a rule
	Duplicates  float64       // share of events that repeat an acknowledged one
	Probes      float64       // single events a second whose way to readable is timed; 0: none
	Bare        time.Duration // load on the bare handler, half before and half after; 0: none

	Drain       time.Duration // how long to wait until all is readable
	Readback    bool          // check that everything acknowledged is readable exactly once
	ReadbackMax int64         // above so many events check slices of the time line instead of all

	// Say is told in a sentence what happens now; nil: nobody is.
	Say func(sentence string)
}

// Defaults are the options of a run that says something.
func Defaults() Options {
	return Options{
		Connections: 512, Events: 1, Duration: 10 * time.Second, Warmup: time.Second,
		Probes: 10, Bare: 5 * time.Second,
		Drain: 2 * time.Minute, Readback: true, ReadbackMax: 2_000_000,
	}
}

// Bounds of a run.
const (
	maxConnections = 4096
	maxEvents      = 1000
	maxInFlight    = 1_000_000 // Connections × Events: about 450 MB of request buffers
	maxDuration    = time.Hour
)

// check reports everything that is wrong with the options.
func (o *Options) check() error {
	var errs []error
	wrong := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	between := func(name string, got, low, high int) {
		if got < low || got > high {
			wrong("%s is %d; it must be %d to %d", name, got, low, high)
		}
	}
	between("connections", o.Connections, 1, maxConnections)
	between("events", o.Events, 1, maxEvents)
	if o.Connections*o.Events > maxInFlight {
		wrong("connections × events is %d; it must be at most %d", o.Connections*o.Events, maxInFlight)
	}
	if o.Duration <= 0 || o.Duration > maxDuration {
		wrong("duration is %v; it must be above 0 and at most %v", o.Duration, maxDuration)
	}
	for name, v := range map[string]float64{"bad": o.Bad, "duplicates": o.Duplicates, "bad + duplicates": o.Bad + o.Duplicates} {
		if !(v >= 0 && v <= 1) {
			wrong("%s is %v; a share is 0 to 1", name, v)
		}
	}
	for name, v := range map[string]float64{"rate": o.Rate, "probes": o.Probes} {
		if !(v >= 0 && v <= 1e8) {
			wrong("%s is %v; it must be 0 to 100,000,000 a second", name, v)
		}
	}
	for name, v := range map[string]int64{
		"requests": o.Requests, "readback-max": o.ReadbackMax,
		"warmup": int64(o.Warmup), "drain": int64(o.Drain), "bare": int64(o.Bare),
	} {
		if v < 0 {
			wrong("%s is negative", name)
		}
	}
	if o.URL != "" {
		if _, err := loopback(o.URL); err != nil {
			errs = append(errs, err)
		}
		if o.Key == "" {
			wrong("a running server needs its operator's key")
		}
	}
	return errors.Join(errs...)
}

// say tells whoever listens.
func (o *Options) say(format string, a ...any) {
	if o.Say != nil {
		o.Say(fmt.Sprintf(format, a...))
	}
}

// loopback is the host:port of an http URL on this machine.
func loopback(address string) (hostport string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%q is no http:// address", address)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "80"
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("%s is not on this machine; only loopback addresses are put under load", address)
	}
	return net.JoinHostPort(host, port), nil
}
