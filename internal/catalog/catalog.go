// Package catalog keeps the small facts that change while The Eye runs:
// applications with their credentials, and the installation's secrets. They lie
// in one JetStream key-value bucket, so that they are replicated and backed up
// with the journal.
//
// Every node holds a snapshot in memory and watches the bucket. A change made
// here is in this node's snapshot when the call returns, and in that of the
// others as soon as the watch has told them, well within a second.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/the-eye/eye/internal/access"
)

// Bucket is the name of the key-value bucket.
const Bucket = "EYE_CATALOG"

const (
	history           = 8
	maxValueBytes     = 512 << 10
	applicationPrefix = "application."
)

var (
	// ErrNotFound: there is no such application.
	ErrNotFound = errors.New("no such application")
	// ErrExists: there is an application with that id.
	ErrExists = errors.New("the application exists")
	// ErrTooLarge: an application with all its credentials does not fit.
	ErrTooLarge = errors.New("the application is too large")
	// ErrConflict: others kept changing it at the same time.
	ErrConflict = errors.New("changed by somebody else at the same time")
)

// Options of a Catalog. The zero value is for one node.
type Options struct {
	// Replicas is on how many JetStream servers the bucket lies; 0 means 1.
	Replicas int

	// Changed is called with all applications, ordered by id, before Open
	// returns and after every change, one call at a time. It must be quick,
	// must not write to the Catalog, and must not change or keep its argument
	// beyond what it copies.
	Changed func([]access.Application)
}

// Catalog is a view of the bucket. Its methods are safe for concurrent use.
type Catalog struct {
	log     *slog.Logger
	kv      jetstream.KeyValue
	changed func([]access.Application)

	apps atomic.Pointer[[]access.Application] // ordered by id; never written to

	mu    sync.Mutex
	known map[string]record // by key; guarded by mu
}

// record is the newest that is known about one key.
type record struct {
	application *access.Application // nil when deleted (or unreadable)
	revision    uint64
}

// Open opens the bucket, creating it when it is not there, and reads all of it.
// To learn of changes made elsewhere, Run has to run.
func Open(ctx context.Context, log *slog.Logger, js jetstream.JetStream, o Options) (*Catalog, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:       Bucket,
		Description:  "The Eye: applications and secrets of the installation",
		Storage:      jetstream.FileStorage,
		History:      history,
		MaxValueSize: maxValueBytes,
		Replicas:     max(o.Replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c := &Catalog{log: log, kv: kv, changed: o.Changed, known: make(map[string]record)}
	if c.changed == nil {
		c.changed = func([]access.Application) {}
	}
	watcher, err := c.watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	if err := watcher.Stop(); err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	return c, nil
}

// Run keeps the snapshot up to date until ctx is done. A broken watch is taken
// up again; what was missed meanwhile is read then.
func (c *Catalog) Run(ctx context.Context) error {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	pause := shortest
	for {
		err := c.follow(ctx, func() { pause = shortest })
		if ctx.Err() != nil {
			return nil
		}
		c.log.Warn("catalog watch broke", "err", err, "retry_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// follow takes in changes until the watch breaks.
func (c *Catalog) follow(ctx context.Context, started func()) error {
	watcher, err := c.watch(ctx)
	if err != nil {
		return err
	}
	defer watcher.Stop() // it may be gone already; there is nothing to do about it
	started()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watcher.Updates():
			if !ok {
				return errors.New("watch ended")
			}
			c.mu.Lock()
			if c.take(entry.Key(), c.read(entry)) {
				c.publish()
			}
			c.mu.Unlock()
		}
	}
}

// watch starts a watch of all applications, and takes in all that exist now
// before it returns.
func (c *Catalog) watch(ctx context.Context) (jetstream.KeyWatcher, error) {
	watcher, err := c.kv.Watch(ctx, applicationPrefix+"*")
	if err != nil {
		return nil, err
	}
	now := make(map[string]record)
	for {
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), watcher.Stop())
		case entry, ok := <-watcher.Updates():
			if !ok {
				return nil, errors.New("watch ended")
			}
			if entry != nil {
				now[entry.Key()] = c.read(entry)
				continue
			}
			c.mu.Lock()
			c.takeAll(now)
			c.publish()
			c.mu.Unlock()
			return watcher, nil
		}
	}
}

// read decodes an entry. An application that cannot be read is left out, so
// that its credentials do not work: that is the safe side to fall to.
func (c *Catalog) read(entry jetstream.KeyValueEntry) record {
	r := record{revision: entry.Revision()}
	if entry.Operation() != jetstream.KeyValuePut {
		return r
	}
	app, err := decode(entry)
	if err != nil {
		c.log.Error("application in the catalog cannot be read and is left out", "key", entry.Key(), "revision", entry.Revision(), "err", err)
		return r
	}
	r.application = &app
	return r
}

func decode(entry jetstream.KeyValueEntry) (access.Application, error) {
	var app access.Application
	if err := json.Unmarshal(entry.Value(), &app); err != nil {
		return app, fmt.Errorf("decode %s: %w", entry.Key(), err)
	}
	if applicationPrefix+app.ID != entry.Key() {
		return app, fmt.Errorf("decode %s: it says to be %q", entry.Key(), app.ID)
	}
	if err := access.CheckID(app.ID); err != nil {
		return app, fmt.Errorf("decode %s: its id %w", entry.Key(), err)
	}
	return app, nil
}

// take takes in a record unless a newer one is known, and tells whether it did.
// c.mu is held.
func (c *Catalog) take(key string, r record) bool {
	if r.revision <= c.known[key].revision {
		return false
	}
	c.known[key] = r
	return true
}

// takeAll takes in the whole bucket as a new watch has found it. c.mu is held.
func (c *Catalog) takeAll(now map[string]record) {
	var newest uint64
	for key, r := range now {
		newest = max(newest, r.revision)
		c.take(key, r)
	}
	// A key that is gone altogether, its mark of deletion included, was purged.
	// One that is newer than all of that was written here since.
	for key, r := range c.known {
		if _, ok := now[key]; !ok && r.revision <= newest {
			delete(c.known, key)
		}
	}
}

// publish makes what is known the snapshot. c.mu is held.
func (c *Catalog) publish() {
	apps := make([]access.Application, 0, len(c.known))
	for _, r := range c.known {
		if r.application != nil {
			apps = append(apps, *r.application)
		}
	}
	slices.SortFunc(apps, func(a, b access.Application) int { return strings.Compare(a.ID, b.ID) })
	c.apps.Store(&apps)
	c.changed(apps)
}
