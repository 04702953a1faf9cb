package process

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/the-eye/eye/internal/store"
)

// keeper holds the store that is open now, for the one writer and all readers.
type keeper struct {
	mu sync.RWMutex
	st store.Store // guarded by mu; nil while there is none
}

// ErrNoStore: the store is not open now; it is being opened again.
var ErrNoStore = errors.New("the store is not open")

// open is the store that is open, or else a new one.
func (k *keeper) open(ctx context.Context, open func(context.Context) (store.Store, error)) (store.Store, error) {
	k.mu.RLock()
	st := k.st
	k.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	st, err := open(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.st = st
	k.mu.Unlock()
	return st, nil
}

// close closes the store. Readers that still use it finish first, or get an error.
func (k *keeper) close(log *slog.Logger) {
	k.mu.Lock()
	st := k.st
	k.st = nil
	k.mu.Unlock()
	if st == nil {
		return
	}
	if err := st.Close(); err != nil {
		log.Warn("the store did not close cleanly; the journal holds what it lacks", "err", err)
	}
}

func (k *keeper) current() (store.Reader, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.st == nil {
		return nil, ErrNoStore
	}
	return k.st, nil
}
