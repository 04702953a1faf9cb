package api

import (
	"context"
	"net/http"
	"sync"

	"github.com/the-eye/eye/internal/store"
)

// Bounds of one page, so that neither 1,000 events of 1 MiB nor 1,000 refused
// bodies of 16 MiB ever lie in memory at once. A page that reaches maxPageBytes
// ends there and has a cursor to go on with.
const (
	maxPageBytes  = 8 << 20
	chunkBytes    = 4 << 20 // aimed at when the size of items is known
	eventsChunk   = 101     // items asked for while it is not: a default page and what tells that there is more
	refusalsChunk = 16
)

// opened is what every list from the store begins with.
type opened[K any] struct {
	start  *K // the key to begin behind; nil: at the first
	reader store.Reader
	ctx    context.Context
	close  context.CancelFunc
}

// open reads the cursor of a list and opens the store. It returns nil when the
// asker may see nothing of the list; then the empty page has been answered.
func open[K any](a *api, w http.ResponseWriter, r *http.Request, p *params, f fingerprint, decode func([]byte) (K, bool), visible bool) (*opened[K], error) {
	start, err := cursor(p, f, decode)
	if err != nil {
		return nil, err
	}
	if !visible {
		writeJSON(w, http.StatusOK, []byte(emptyPage))
		return nil, nil
	}
	reader, ctx, cancel, err := a.read(r)
	if err != nil {
		return nil, err
	}
	return &opened[K]{start, reader, ctx, cancel}, nil
}

// page collects one page of a list.
type page[T any] struct {
	limit  int
	chunk  int                                    // items to ask for at first
	fetch  func(after *T, limit int) ([]T, error) // items strictly behind after
	render func(b []byte, item *T) []byte         //
	next   func(last *T) string                   // the cursor behind last
	body   []byte
}

// bodies are pages' buffers that are no longer needed.
var bodies = sync.Pool{New: func() any { return new(make([]byte, 0, 64<<10)) }}

// maxPooledBytes keeps the few huge pages from staying in memory.
const maxPooledBytes = 1 << 20

// write answers with the page.
func (p *page[T]) write(w http.ResponseWriter) error {
	return p.writeUnless(w, func(int) error { return nil })
}

// writeUnless answers with the page unless refuse has something against a page
// with that many items.
func (p *page[T]) writeUnless(w http.ResponseWriter, refuse func(count int) error) error {
	buffer := bodies.Get().(*[]byte)
	p.body = (*buffer)[:0]
	defer func() {
		if cap(p.body) <= maxPooledBytes {
			*buffer = p.body
			bodies.Put(buffer)
		}
	}()
	count, err := p.collect()
	if err == nil {
		err = refuse(count)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, p.body)
	return nil
}

// collect makes body the page and returns how many items it has.
func (p *page[T]) collect() (int, error) {
	p.body = append(p.body, `{"items":[`...)
	var last *T
	count, chunk := 0, min(p.chunk, p.limit+1)
	more := false
fill:
	for {
		items, err := p.fetch(last, chunk)
		if err != nil {
			return 0, err
		}
		for i := range items {
			if count == p.limit || len(p.body) >= maxPageBytes {
				more = true
				break fill
			}
			if count > 0 {
				p.body = append(p.body, ',')
			}
			p.body = p.render(p.body, &items[i])
			last = &items[i]
			count++
		}
		if len(items) < chunk {
			break
		}
		// One more than is missing, to learn whether there is more.
		chunk = max(1, min(p.limit-count+1, chunkBytes/(len(p.body)/count+1)))
	}
	p.body = append(p.body, `],"next":`...)
	if more {
		p.body = appendQuoted(p.body, p.next(last))
	} else {
		p.body = append(p.body, "null"...)
	}
	p.body = append(p.body, '}')
	return count, nil
}
