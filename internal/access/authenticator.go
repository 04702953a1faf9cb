// Package access knows who may do what: applications, their credentials and
// scopes, and how a request proves where it comes from.
//
// It is rules and values only. The catalog keeps the applications; an
// Authenticator works on a snapshot of them, handed over with Update.
package access

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// MinOperatorKeyChars is the least length of the operator's key.
const MinOperatorKeyChars = 32

// maxBasicBytes bounds what is decoded of a Basic header.
const maxBasicBytes = 4096

// Authenticator tells who makes a request. It is safe for concurrent use;
// Authenticate takes no lock and allocates nothing.
type Authenticator struct {
	operator     *Principal // nil without an operator's key
	operatorHash Hash
	now          func() time.Time
	grants       atomic.Pointer[map[Hash]grant]
}

// grant is what one credential opens.
type grant struct {
	hash      Hash
	principal *Principal
	disabled  bool
	expires   time.Time // zero: never
}

// NewAuthenticator knows the operator's key and no application yet. An empty
// key means that there is no operator.
func NewAuthenticator(operatorKey string, now func() time.Time) (*Authenticator, error) {
	a := &Authenticator{now: now}
	a.grants.Store(&map[Hash]grant{})
	if operatorKey == "" {
		return a, nil
	}
	if n := utf8.RuneCountInString(operatorKey); n < MinOperatorKeyChars {
		return nil, fmt.Errorf("the operator's key has %d characters; it needs at least %d", n, MinOperatorKeyChars)
	}
	if !sendable(operatorKey) {
		return nil, fmt.Errorf("the operator's key must consist of printable ASCII characters without spaces, to fit into a header")
	}
	a.operatorHash = HashKey(operatorKey)
	a.operator = &Principal{
		Application: OperatorID, Scopes: AllScopes,
		FutureTolerance: DefaultFutureTolerance, Operator: true,
	}
	return a, nil
}

func sendable(key string) bool {
	return strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// Update replaces what is known about applications. Once it has returned, no
// request is authenticated by what was known before. It keeps nothing of apps.
func (a *Authenticator) Update(apps []Application) {
	grants := make(map[Hash]grant)
	for i := range apps {
		app := &apps[i]
		patterns := append([]Pattern(nil), app.EventTypes...)
		for k := range app.Credentials {
			c := &app.Credentials[k]
			if c.Kind != APIKey {
				continue
			}
			grants[c.Hash] = grant{
				hash: c.Hash,
				principal: &Principal{
					Application:     app.ID,
					Scopes:          c.Grants(app.Scopes),
					CredentialID:    c.ID,
					Patterns:        patterns,
					Rate:            app.Rate,
					FutureTolerance: app.FutureTolerance(),
				},
				disabled: app.Disabled,
				expires:  c.ExpiresAt,
			}
		}
	}
	a.grants.Store(&grants)
}

// Authenticate tells who makes the request, or gives one of the errors of this
// package. The key comes as Authorization: Bearer KEY, or as the user name of
// Authorization: Basic, whose password is ignored.
func (a *Authenticator) Authenticate(r *http.Request) (*Principal, error) {
	values := r.Header["Authorization"]
	switch {
	case len(values) == 0:
		return nil, ErrMissing
	case len(values) > 1:
		return nil, ErrMalformed
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer") && rest != "":
		return a.identify(rest)
	case strings.EqualFold(scheme, "Basic"):
		return a.basic(rest)
	}
	return nil, ErrMalformed
}

// basic finds the key in the credentials of the scheme Basic (RFC 7617).
func (a *Authenticator) basic(credentials string) (*Principal, error) {
	if len(credentials) > maxBasicBytes {
		return nil, ErrMalformed
	}
	text, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return nil, ErrMalformed
	}
	key, _, ok := strings.Cut(string(text), ":")
	if !ok || key == "" {
		return nil, ErrMalformed
	}
	return a.identify(key)
}

func (a *Authenticator) identify(key string) (*Principal, error) {
	hash := HashKey(key)
	if a.operator != nil && subtle.ConstantTimeCompare(hash[:], a.operatorHash[:]) == 1 {
		return a.operator, nil
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	// The map is searched by a hash, which tells whoever measures nothing about
	// the key; the comparison costs nothing and does not rely on that.
	g, ok := (*a.grants.Load())[hash]
	if !ok || subtle.ConstantTimeCompare(hash[:], g.hash[:]) != 1 {
		return nil, ErrUnknown
	}
	switch {
	case g.disabled:
		return nil, ErrDisabled
	case !g.expires.IsZero() && !a.now().Before(g.expires):
		return nil, ErrExpired
	}
	return g.principal, nil
}
