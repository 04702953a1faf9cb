package access

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// OperatorID is the application id of whoever holds the operator's key. It
// names no application in the catalog, and none can take it.
const OperatorID = "operator"

// Bounds of an application, so that one record stays small.
const (
	MaxNameChars        = 200
	MaxDescriptionChars = 2000
	MaxPatterns         = 500
	MaxCredentials      = 32
	MaxPerSecond        = 100_000_000
	MaxFutureTolerance  = 366 * 24 * time.Hour
)

// DefaultFutureTolerance is how far ahead of the server's clock a timestamp
// may be when an application asks for nothing else.
const DefaultFutureTolerance = 60 * time.Second

// Application is a trusted client that sends or reads events. The JSON form is
// how the catalog keeps it.
type Application struct {
	ID                     string       `json:"id"`
	Name                   string       `json:"name"`
	Description            string       `json:"description,omitempty"`
	Owner                  string       `json:"owner,omitempty"` // who to ask about it
	Scopes                 Scopes       `json:"scopes"`
	EventTypes             []Pattern    `json:"event_types,omitempty"` // what it may send; empty: everything
	Rate                   Rate         `json:"rate,omitzero"`
	FutureToleranceSeconds int64        `json:"future_tolerance_seconds"`
	Disabled               bool         `json:"disabled,omitempty"` // none of its credentials work
	CreatedAt              time.Time    `json:"created_at"`
	Credentials            []Credential `json:"credentials,omitempty"`
}

// Rate limits how many events an application may send. The zero Rate is no
// limit.
type Rate struct {
	PerSecond int64 `json:"per_second"`
	Burst     int64 `json:"burst"` // events at once, ≥ 1
}

// Limited tells whether there is a limit.
func (r Rate) Limited() bool { return r.PerSecond > 0 }

// FutureTolerance is how far ahead of the server's clock a timestamp may be.
func (a *Application) FutureTolerance() time.Duration {
	return time.Duration(a.FutureToleranceSeconds) * time.Second
}

// Clone is a copy that shares nothing.
func (a *Application) Clone() Application {
	c := *a
	c.EventTypes = slices.Clone(a.EventTypes)
	c.Credentials = slices.Clone(a.Credentials)
	return c
}

// Kind is a way to prove who one is.
type Kind string

// The kinds of credentials.
const (
	APIKey       Kind = "api_key"
	ClientSecret Kind = "client_secret"
	PublicKey    Kind = "public_key"
	IngestKey    Kind = "ingest_key"
)

// Credential is one way in for an application. The secret itself is not kept.
type Credential struct {
	ID        string    `json:"id"`
	Kind      Kind      `json:"kind"`
	Scopes    Scopes    `json:"scopes,omitempty"` // empty: whatever the application has
	Hash      Hash      `json:"hash"`
	Hint      string    `json:"hint"` // the first characters of the secret
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// Expired tells whether the credential has ended by now.
func (c *Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// Grants is what the credential allows: its own scopes as far as the
// application still has them.
func (c *Credential) Grants(application Scopes) Scopes {
	if c.Scopes == 0 {
		return application.Granted()
	}
	return c.Scopes.Granted() & application.Granted()
}

// NewAPIKey makes a credential of kind APIKey and the key, which is shown once.
func NewAPIKey(id string, scopes Scopes, created, expires time.Time) (Credential, string) {
	key := NewKey()
	return Credential{
		ID: id, Kind: APIKey, Scopes: scopes, Hash: HashKey(key), Hint: hint(key),
		CreatedAt: created.UTC().Truncate(time.Microsecond), ExpiresAt: expires,
	}, key
}

// CheckID tells whether id can be the id of an application:
// ^[a-z0-9][a-z0-9-]{0,62}$ and not reserved.
func CheckID(id string) error {
	if !isSlug(id) {
		return errors.New("must have 1 to 63 characters, lower-case letters, digits and -, and not begin with -")
	}
	if id == OperatorID {
		return fmt.Errorf("%s is reserved for the holder of the operator's key", OperatorID)
	}
	return nil
}

func isSlug(id string) bool {
	if len(id) < 1 || len(id) > 63 || id[0] == '-' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Check reports every rule that the application breaks, by the name of the
// field (in JSON).
func (a *Application) Check() []FieldError {
	var errs []FieldError
	add := func(field, message string) { errs = append(errs, FieldError{field, message}) }
	if err := CheckID(a.ID); err != nil {
		add("id", err.Error())
	}
	if !fits(a.Name, 1, MaxNameChars) {
		add("name", fmt.Sprintf("must have 1 to %d characters", MaxNameChars))
	}
	if !fits(a.Description, 0, MaxDescriptionChars) {
		add("description", fmt.Sprintf("must have at most %d characters", MaxDescriptionChars))
	}
	if !fits(a.Owner, 0, MaxNameChars) {
		add("owner", fmt.Sprintf("must have at most %d characters", MaxNameChars))
	}
	if len(a.EventTypes) > MaxPatterns {
		add("event_types", fmt.Sprintf("must be at most %d patterns", MaxPatterns))
	}
	if a.Rate != (Rate{}) {
		if a.Rate.PerSecond < 1 || a.Rate.PerSecond > MaxPerSecond {
			add("rate/per_second", fmt.Sprintf("must be 1 to %d", MaxPerSecond))
		}
		if a.Rate.Burst < 1 || a.Rate.Burst > MaxPerSecond {
			add("rate/burst", fmt.Sprintf("must be 1 to %d", MaxPerSecond))
		}
	}
	if a.FutureToleranceSeconds < 0 || a.FutureToleranceSeconds > int64(MaxFutureTolerance/time.Second) {
		add("future_tolerance_seconds", fmt.Sprintf("must be 0 to %d", int64(MaxFutureTolerance/time.Second)))
	}
	if len(a.Credentials) > MaxCredentials {
		add("credentials", fmt.Sprintf("must be at most %d", MaxCredentials))
	}
	return errs
}

// FieldError is a rule that a field breaks.
type FieldError struct {
	Field   string // its path in JSON, with / between, e.g. rate/burst
	Message string // continues "FIELD …"
}

func fits(text string, least, most int) bool {
	n := utf8.RuneCountInString(text)
	return n >= least && n <= most && utf8.ValidString(text)
}
