package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// remote calls the API with one credential, off the hot path.
type remote struct {
	base string // http://host:port
	key  string
	http *http.Client
}

func newRemote(base, key string) *remote {
	return &remote{base, key, &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}}
}

// as is the same server with another credential.
func (r *remote) as(key string) *remote { return &remote{r.base, key, r.http} }

// maxPage bounds an answer: 1,000 events of 1 MiB do not come from here.
const maxPage = 64 << 20

// call sends in as JSON (nil: no body) and reads a 2xx answer into out (nil:
// not at all; *[]byte: as it is). Another status is an error beside the status.
func (r *remote) call(ctx context.Context, method, path string, in, out any) (status int, err error) {
	var body io.Reader
	if raw, ok := in.([]byte); ok {
		body = bytes.NewReader(raw)
	} else if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, body)
	if err != nil {
		return 0, err
	}
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := r.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return res.StatusCode, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 {
		return res.StatusCode, fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, bytes.TrimSpace(text))
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = text
	default:
		if err := json.Unmarshal(text, out); err != nil {
			return res.StatusCode, fmt.Errorf("%s %s: decode answer: %w", method, path, err)
		}
	}
	return res.StatusCode, nil
}

// patient is call for reading, repeated while the server is busy.
func (r *remote) patient(ctx context.Context, path string, out any) error {
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		status, err := r.call(ctx, http.MethodGet, path, nil, out)
		busy := status == http.StatusTooManyRequests || status >= 500
		if err == nil || !busy || pause > 3*time.Second || ctx.Err() != nil {
			return err
		}
		wait(ctx, pause)
	}
}

// application makes an application that may write and read its own events, and
// returns its key.
func (r *remote) application(ctx context.Context, id string) (key string, err error) {
	app := map[string]any{"id": id, "name": "Benchmark", "scopes": []string{"events:write", "events:read"}}
	if _, err := r.call(ctx, http.MethodPost, "/v1/applications", app, nil); err != nil {
		return "", fmt.Errorf("create application: %w", err)
	}
	var made struct {
		Secret string `json:"secret"`
	}
	kind := map[string]string{"kind": "api_key"}
	if _, err := r.call(ctx, http.MethodPost, "/v1/applications/"+id+"/credentials", kind, &made); err != nil {
		return "", fmt.Errorf("create API key: %w", err)
	}
	if made.Secret == "" {
		return "", fmt.Errorf("create API key: the answer has no secret")
	}
	return made.Secret, nil
}

// ready waits until the server can accept events.
func (r *remote) ready(ctx context.Context) error {
	for {
		status, err := r.call(ctx, http.MethodGet, "/readyz", nil, nil)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("server is not ready (status %d): %w", status, err)
		}
		wait(ctx, 20*time.Millisecond)
	}
}
