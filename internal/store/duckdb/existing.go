package duckdb

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Existing implements store.Writer. Keys nobody has seen, the usual case, cost
// a look into a map and a probe of each filter.
func (s *Store) Existing(ctx context.Context, keys []event.Key) ([]store.Original, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, fmt.Errorf("look for keys: %w", errClosed)
	}
	if fault := s.fault.Load(); fault != nil {
		return nil, *fault
	}
	originals := make([]store.Original, len(keys))
	hashes := make([]event.Hash, len(keys))
	var undigested []event.Position
	for i, key := range keys {
		h := key.Hash()
		hashes[i] = h
		if original, ok := s.tail.byKey[h]; ok {
			originals[i] = original
			if original.Digest == 0 {
				undigested = append(undigested, original.Position)
			}
		}
	}
	x := s.index.Load()
	v := &snapshot{ctx, s.writer, x}
	found, err := v.verify(keys, x.positives(hashes, originals))
	if err != nil {
		return nil, fmt.Errorf("look for keys: %w", s.judge(err))
	}
	s.metrics.verifications.Add(float64(found.verified))
	digests, err := v.digests(append(undigested, slices.Collect(maps.Values(found.positions))...))
	if err != nil {
		return nil, fmt.Errorf("compare with originals: %w", s.judge(err))
	}
	for i, h := range hashes {
		if p, ok := found.positions[keys[i]]; ok {
			originals[i].Position = p
		}
		p := originals[i].Position
		if p == 0 {
			continue
		}
		if digest, ok := digests[p]; ok {
			originals[i].Digest = digest
		}
		if original, ok := s.tail.byKey[h]; ok && original.Digest == 0 {
			s.tail.mu.Lock()
			s.tail.byKey[h] = originals[i]
			s.tail.mu.Unlock()
		}
	}
	return originals, nil
}

// positives are the segments that may hold keys, with the indices of those.
// Keys that already have an original are left out.
func (x *index) positives(hashes []event.Hash, originals []store.Original) map[*segment][]int {
	var found map[*segment][]int
	for _, f := range x.filters { // filter by filter: each stays in the cache
		for i, h := range hashes {
			if !f.ids.Contains(idKey(h)) || originals[i].Position != 0 {
				continue
			}
			for _, g := range x.within(f, h) {
				if found == nil {
					found = make(map[*segment][]int)
				}
				found[g] = append(found[g], i)
			}
		}
	}
	return found
}

// verified is what a look into the segments has shown.
type verified struct {
	positions map[event.Key]event.Position // of the keys that are there
	verified  int                          // keys looked for
}

// verify looks for keys in the segments that may hold them, all of them in one
// statement.
func (v *snapshot) verify(keys []event.Key, positives map[*segment][]int) (verified, error) {
	if len(positives) == 0 {
		return verified{}, nil
	}
	var spans []span
	wanted := make(map[event.Key]bool)
	for g, indices := range positives {
		spans = append(spans, span{g.first, g.last})
		for _, i := range indices {
			wanted[keys[i]] = true
		}
	}
	ids := make([]string, 0, len(wanted))
	for key := range wanted {
		ids = append(ids, key.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	answer := verified{positions: make(map[event.Key]event.Position), verified: len(wanted)}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	err := v.each(fmt.Sprintf("SELECT position, application, id FROM %s WHERE id IN (SELECT unnest($1::VARCHAR[]))",
		from(spans, "position, application, id")), []any{ids}, func(scan func(...any) error) error {
		var p event.Position
		var key event.Key
		if err := scan(&p, &key.Application, &key.ID); err != nil {
			return err
		}
		if wanted[key] {
			answer.positions[key] = p
		}
		return nil
	})
	return answer, err
}

// digests of the events at the positions.
func (v *snapshot) digests(positions []event.Position) (map[event.Position]event.Digest, error) {
	slices.Sort(positions)
	rows, err := v.at(slices.Compact(positions))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	digests := make(map[event.Position]event.Digest, len(rows))
	for i := range rows {
		digests[rows[i].Position] = rows[i].Digest()
	}
	return digests, nil
}
