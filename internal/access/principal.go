package access

import (
	"context"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// Principal is who makes a request, and what they may do. It is shared between
// requests and must not be changed.
type Principal struct {
	Application     string // its id; what it sends is stamped with it
	Scopes          Scopes // implied ones included
	CredentialID    string // "" for the operator's key
	Patterns        []Pattern
	Rate            Rate
	FutureTolerance time.Duration
	Operator        bool // holds the operator's key
}

// May tells whether the principal has the scope.
func (p *Principal) May(s Scope) bool { return p.Scopes.Has(s) }

// ReadsAll tells whether the principal sees what other applications sent.
func (p *Principal) ReadsAll() bool { return p.Scopes.Has(EventsReadAll) }

// MaySend tells whether the principal's application may send events of type t.
func (p *Principal) MaySend(t event.Type) bool {
	if len(p.Patterns) == 0 {
		return true
	}
	for _, pattern := range p.Patterns {
		if pattern.Matches(t) {
			return true
		}
	}
	return false
}

type principalKey struct{}

// WithPrincipal is ctx with the principal in it.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext is the principal in ctx, nil when there is none.
func FromContext(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
