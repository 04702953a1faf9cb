package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	receiptKey      = "secret.receipt"
	receiptKeyBytes = 16 // as event.NewReceipts wants it
)

// ReceiptKey is the installation's key behind receipts. Whoever asks first
// makes it; it never changes, for receipts given out would lose their meaning.
func (c *Catalog) ReceiptKey(ctx context.Context) ([]byte, error) {
	entry, err := c.kv.Get(ctx, receiptKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		fresh := make([]byte, receiptKeyBytes)
		rand.Read(fresh) // never fails: it ends the program instead
		_, err = c.kv.Create(ctx, receiptKey, fresh)
		if err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return nil, fmt.Errorf("make the key of receipts: %w", err)
		}
		// Whoever made it, what lies there is the key.
		entry, err = c.kv.Get(ctx, receiptKey)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of receipts: %w", err)
	}
	key := entry.Value()
	if len(key) != receiptKeyBytes {
		return nil, fmt.Errorf("read the key of receipts: it has %d bytes; it should have %d", len(key), receiptKeyBytes)
	}
	return key, nil
}
