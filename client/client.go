// Package client speaks to The Eye: it sends events, and reads events,
// sessions and receipts back.
//
// A Client is one server and one credential. Most programs send through a
// Sender, which takes events without waiting for the network:
//
//	c, err := client.New("https://eye.example.com", client.Options{Key: os.Getenv("EYE_KEY")})
//	if err != nil {
//		return err
//	}
//	sender := c.NewSender(client.SenderOptions{
//		OnRefused: func(e client.Event, receipt string, why []client.Violation) {
//			slog.Warn("event refused", "category", e.Category, "name", e.Name, "why", why)
//		},
//	})
//	defer func() {
//		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
//		defer cancel()
//		if err := sender.Close(ctx); err != nil { // sends what still waits
//			slog.Error("events lost", "err", err, "stats", sender.Stats())
//		}
//	}()
//
//	err = sender.Send(ctx, client.Event{
//		SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423",
//		Category:  "page interaction",
//		Name:      "cta click",
//		Data:      map[string]any{"host": "www.example.com", "path": "/"},
//		Timestamp: time.Now(),
//	})
//
// SendNow sends a few events and returns what became of each of them.
//
// # What is promised
//
// An event counts as accepted when the server has it on disk. Until then a
// Sender repeats it, always with the same id (one is made where the event has
// none), so that the server stores it once however often it arrives. An event
// that is not accepted is never forgotten in silence: it is refused by the
// server and handed to OnRefused, or dropped, counted by reason and handed to
// OnDropped.
//
// Refusal is not an error of the call: the server keeps what it refused in
// quarantine, and sending it again would change nothing.
//
// What the package does not do: it holds events in memory only, so those not
// yet accepted end with the process; and it does not check events against the
// server's rules, which are the server's to decide.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of a Client. The zero Options are of use against a server that is
// reached through something that authenticates.
type Options struct {
	// Key goes with every request as a bearer token: an API key (eye_…), or an
	// access token. Without one, HTTPClient must see to authentication.
	Key string

	// HTTPClient sends the requests. nil: one with a pool of connections of its
	// own. It should have no Timeout, which would cut Tail off.
	HTTPClient *http.Client

	// Timeout is the longest that one request may take, the time it was asked
	// to wait for processing not counted. 0: 30 s.
	Timeout time.Duration

	// Patience is how long a call of the Client goes on repeating a request
	// that may succeed later: no connection, no answer, 408, 425, 429 or 5xx.
	// 0: the first failure is returned. A Sender has its own GiveUpAfter.
	Patience time.Duration

	// Compression of what is sent. Zstd costs next to nothing and pays off on
	// every network but the loopback.
	Compression Compression

	// UserAgent names the program to the server. "": eye-client.
	UserAgent string
}

// Client is one server and one credential. It is safe for concurrent use and
// needs no closing.
type Client struct {
	base      string // without a slash at its end
	key       string
	http      *http.Client
	timeout   time.Duration
	patience  time.Duration
	userAgent string
	encoding  string     // the Content-Encoding that compress makes
	compress  compressor // nil: bodies go as they are
}

// New returns a Client for the server at base, e.g. http://127.0.0.1:8080. It
// does not connect.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		if strings.Contains(base, "@") {
			base = "it" // there may be a password in it
		}
		return nil, fmt.Errorf("address of the server: %s has to look like https://eye.example.com or http://127.0.0.1:8080", base)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("address of the server: %q has more than scheme, host, port and path", u.Redacted())
	}
	compress, err := o.Compression.compressor()
	if err != nil {
		return nil, err
	}
	c := &Client{
		base:      strings.TrimRight(u.String(), "/"),
		key:       o.Key,
		http:      o.HTTPClient,
		timeout:   o.Timeout,
		patience:  o.Patience,
		userAgent: o.UserAgent,
		encoding:  string(o.Compression),
		compress:  compress,
	}
	if c.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 100 // there is one host; keep what a busy program opens
		c.http = &http.Client{Transport: t}
	}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	if c.userAgent == "" {
		c.userAgent = "eye-client"
	}
	return c, nil
}

// URL is the address of the server, without a slash at its end.
func (c *Client) URL() string { return c.base }

// CloseIdleConnections closes the connections that no request uses now.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// call is one request.
type call struct {
	method string
	path   string // escaped, from the base on
	query  url.Values
	header http.Header
	body   []byte
	wait   time.Duration // that the server was asked for, on top of the timeout
}

// maxAnswer bounds an answer in memory. The largest are pages of events.
const maxAnswer = 256 << 20

// request makes the HTTP request of a call.
func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader = http.NoBody
	if r.body != nil {
		body = newBody(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.ContentLength = int64(len(r.body))
		req.GetBody = func() (io.ReadCloser, error) { return newBody(r.body), nil }
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", c.userAgent)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// once sends one request and decodes the answer into answer.
// A refusal is returned as a *Problem.
func (c *Client) once(ctx context.Context, r call, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout+r.wait, errNoAnswer)
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return noAnswer(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problemOf(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return noAnswer(ctx, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("%s %s: %w: it is larger than %d bytes", r.method, r.path, errAnswer, maxAnswer)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s %s: read the answer (is %s The Eye?): %w", r.method, r.path, c.base, err)
	}
	return nil
}

// do is once, repeated within the Client's patience.
func (c *Client) do(ctx context.Context, r call, answer any) error {
	pauses := newPauses(c.patience)
	for {
		err := c.once(ctx, r, answer)
		if err == nil {
			return nil
		}
		if !pauses.again(ctx, err) {
			return err
		}
	}
}

// errNoAnswer is the cause of a request's own deadline.
var errNoAnswer = errors.New("no answer in time")

// noAnswer says why there is no answer; the caller's own context speaks first.
func noAnswer(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}
