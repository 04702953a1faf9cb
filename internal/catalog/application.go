package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/the-eye/eye/internal/access"
)

// maxTries bounds how often a change is tried again because somebody else was
// faster.
const maxTries = 16

// Applications is every application, ordered by id. The caller must not change
// what it gets.
func (c *Catalog) Applications() []access.Application { return *c.apps.Load() }

// Application is the application with that id, or ErrNotFound. The caller must
// not change what its fields refer to.
func (c *Catalog) Application(id string) (access.Application, error) {
	apps := *c.apps.Load()
	i, ok := slices.BinarySearchFunc(apps, id, func(a access.Application, id string) int { return strings.Compare(a.ID, id) })
	if !ok {
		return access.Application{}, ErrNotFound
	}
	return apps[i], nil
}

// CreateApplication adds an application, or gives ErrExists.
func (c *Catalog) CreateApplication(ctx context.Context, app access.Application) error {
	app = app.Clone()
	value, err := encode(&app)
	if err != nil {
		return err
	}
	revision, err := c.kv.Create(ctx, applicationPrefix+app.ID, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return ErrExists
	}
	if err != nil {
		return fmt.Errorf("create application %s: %w", app.ID, err)
	}
	c.wrote(app.ID, record{&app, revision})
	return nil
}

// UpdateApplication changes an application and returns it as it is then. When
// others change it at the same time, change is called again with what they have
// made of it; an error of change ends the matter and is returned as it is.
func (c *Catalog) UpdateApplication(ctx context.Context, id string, change func(*access.Application) error) (access.Application, error) {
	for range maxTries {
		entry, err := c.newest(ctx, id)
		if err != nil {
			return access.Application{}, err
		}
		app, err := decode(entry)
		if err != nil {
			return access.Application{}, fmt.Errorf("update application %s: %w", id, err)
		}
		if err := change(&app); err != nil {
			return access.Application{}, err
		}
		app.ID = id
		value, err := encode(&app)
		if err != nil {
			return access.Application{}, err
		}
		revision, err := c.kv.Update(ctx, applicationPrefix+id, value, entry.Revision())
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue
		}
		if err != nil {
			return access.Application{}, fmt.Errorf("update application %s: %w", id, err)
		}
		c.wrote(id, record{&app, revision})
		return app.Clone(), nil
	}
	return access.Application{}, ErrConflict
}

// DeleteApplication removes an application with its credentials, or gives
// ErrNotFound. The events that it sent stay.
func (c *Catalog) DeleteApplication(ctx context.Context, id string) error {
	for range maxTries {
		entry, err := c.newest(ctx, id)
		if err != nil {
			return err
		}
		// It need not be readable to be deleted.
		err = c.kv.Delete(ctx, applicationPrefix+id, jetstream.LastRevision(entry.Revision()))
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue
		}
		if err != nil {
			return fmt.Errorf("delete application %s: %w", id, err)
		}
		// The bucket does not tell the revision of the deletion. It is after
		// the one that was deleted, and the watch brings the exact one.
		c.wrote(id, record{nil, entry.Revision() + 1})
		return nil
	}
	return ErrConflict
}

// newest reads an application from the bucket itself, for others may have
// changed it a moment ago.
func (c *Catalog) newest(ctx context.Context, id string) (jetstream.KeyValueEntry, error) {
	if access.CheckID(id) != nil {
		return nil, ErrNotFound // could be no key either
	}
	entry, err := c.kv.Get(ctx, applicationPrefix+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) { // covers deleted ones
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read application %s: %w", id, err)
	}
	return entry, nil
}

// wrote puts into the snapshot what was just written by this node.
func (c *Catalog) wrote(id string, r record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.take(applicationPrefix+id, r) {
		c.publish()
	}
}

func encode(app *access.Application) ([]byte, error) {
	if err := access.CheckID(app.ID); err != nil {
		return nil, fmt.Errorf("write application: its id %w", err)
	}
	value, err := json.Marshal(app)
	if err != nil {
		return nil, fmt.Errorf("encode application %s: %w", app.ID, err)
	}
	if len(value) > maxValueBytes {
		return nil, fmt.Errorf("write application %s: %w", app.ID, ErrTooLarge)
	}
	return value, nil
}
