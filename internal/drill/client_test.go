package drill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// client talks to one run of the program.
type client struct {
	http *http.Client
	url  string
	key  string // of the operator
}

func newClient(t testing.TB, h *home, s *server) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{http: &http.Client{Transport: transport, Timeout: 45 * time.Second}, url: s.url, key: h.key}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (c *client) do(ctx context.Context, method, path, key string, header map[string]string, body []byte) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	// Half an answer is no answer.
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &answer{response.StatusCode, response.Header, text}, nil
}

// get reads a JSON answer as the operator.
func (c *client) get(ctx context.Context, path string, into any) (int, error) {
	a, err := c.do(ctx, "GET", path, c.key, nil, nil)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return a.status, fmt.Errorf("GET %s: %d %s: %w", path, a.status, a.body, err)
	}
	return a.status, nil
}

// pages reads a list to its end.
func pages[T any](ctx context.Context, c *client, path string, query url.Values, limit int, each func(T) error) error {
	for {
		query.Set("limit", fmt.Sprint(limit))
		var page struct {
			Items []T     `json:"items"`
			Next  *string `json:"next"`
		}
		status, err := c.get(ctx, path+"?"+query.Encode(), &page)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("GET %s?%s: status %d", path, query.Encode(), status)
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		query.Set("cursor", *page.Next)
	}
}

// create makes an application that may send, and returns its key.
func (c *client) create(ctx context.Context, id string) (key string, err error) {
	header := map[string]string{"Content-Type": "application/json"}
	a, err := c.do(ctx, "POST", "/v1/applications", c.key, header, fmt.Appendf(nil, `{"id":%q,"name":%q}`, id, id))
	if err != nil {
		return "", err
	}
	if a.status != http.StatusCreated {
		return "", fmt.Errorf("POST application: %d %s", a.status, a.body)
	}
	a, err = c.do(ctx, "POST", "/v1/applications/"+id+"/credentials", c.key, header, []byte(`{"kind":"api_key"}`))
	if err != nil {
		return "", err
	}
	var credential struct{ Secret string }
	if err := json.Unmarshal(a.body, &credential); err != nil || credential.Secret == "" {
		return "", fmt.Errorf("POST credentials: %d %s", a.status, a.body)
	}
	return credential.Secret, nil
}

// readiness is what /readyz says: its status, and the detail of each check that
// does not hold.
func (c *client) readiness(ctx context.Context) (status int, failing map[string]string, err error) {
	var body struct {
		Checks []struct {
			Name   string `json:"name"`
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
		} `json:"checks"`
	}
	if status, err = c.get(ctx, "/readyz", &body); err != nil {
		return 0, nil, err
	}
	failing = make(map[string]string)
	for _, check := range body.Checks {
		if !check.OK {
			failing[check.Name] = check.Detail
		}
	}
	return status, failing, nil
}
