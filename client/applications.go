package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Application is a client that sends events. The scope admin is needed for
// everything about applications.
type Application struct {
	ID                     string   `json:"id"` // a slug: a-z, 0-9 and -, up to 63 characters
	Name                   string   `json:"name"`
	Scopes                 []string `json:"scopes"`                             // e.g. events:write, events:read
	EventTypes             []string `json:"event_types,omitempty"`              // "category/name", * for any; none: all
	Rate                   *Rate    `json:"rate,omitempty"`                     // nil: no limit
	FutureToleranceSeconds *int     `json:"future_tolerance_seconds,omitempty"` // nil: the server's default
}

// Rate is a limit on events.
type Rate struct {
	PerSecond int64 `json:"per_second"`
	Burst     int   `json:"burst"`
}

// CreateApplication creates an application.
func (c *Client) CreateApplication(ctx context.Context, a Application) (Application, error) {
	return post[Application](ctx, c, "/v1/applications", a)
}

// Applications lists all applications. The iteration ends with an error if one
// occurs.
func (c *Client) Applications(ctx context.Context) iter.Seq2[Application, error] {
	return pages[Application](ctx, c, "/v1/applications", nil, 0)
}

// NewCredential is what to create.
type NewCredential struct {
	Kind      string     `json:"kind"`             // api_key
	Scopes    []string   `json:"scopes,omitempty"` // none: the application's
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// Credential is what an application shows to be let in.
type Credential struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	ClientID  string    `json:"client_id"`
	Secret    string    `json:"secret"` // given once, when it is created
	CreatedAt time.Time `json:"created_at"`
}

// CreateCredential creates a credential of an application. Its Secret cannot be
// read again.
func (c *Client) CreateCredential(ctx context.Context, application string, n NewCredential) (Credential, error) {
	return post[Credential](ctx, c, "/v1/applications/"+url.PathEscape(application)+"/credentials", n)
}

// post creates something. It is sent once, whatever the Client's patience: the
// first try may have succeeded though its answer was lost.
func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	var v T
	b, err := json.Marshal(body)
	if err != nil {
		return v, err
	}
	err = c.once(ctx, call{
		method: http.MethodPost,
		path:   path,
		header: http.Header{"Content-Type": {"application/json"}},
		body:   b,
	}, &v)
	return v, err
}
