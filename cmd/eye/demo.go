package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/internal/app"
	"github.com/the-eye/eye/internal/config"
)

// demoCommand is `eye demo`.
type demoCommand struct {
	Data     string        `env:"EYE_DATA" default:"./eye-demo" placeholder:"DIR" help:"Directory for everything that is kept; made when missing."`
	Listen   string        `env:"EYE_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to serve HTTP on; port 0 takes a free one."`
	Sessions int           `default:"60" help:"Sessions of the past two hours to play before anything else."`
	For      time.Duration `placeholder:"TIME" help:"Stop after this time, e.g. 10s; without it the demo runs until Ctrl-C."`
	Seed     uint64        `default:"1" help:"Seed of the traffic: the same seed plays the same sessions."`
}

// Help is printed below the flags.
func (c *demoCommand) Help() string {
	return `Starts a server with everything embedded, creates three applications that share
sessions, and plays their traffic through the HTTP API as real clients would:
late events, events out of order, and a few bad ones that end in quarantine.

Examples:
  eye demo
  eye demo --listen 127.0.0.1:0 --for 10s`
}

// demoApplications send the traffic.
var demoApplications = []client.Application{
	{ID: "web-shop", Name: "Web shop", Scopes: []string{"events:write", "events:read"}},
	{ID: "checkout", Name: "Checkout service", Scopes: []string{"events:write", "events:read"}},
	{ID: "mobile-app", Name: "Mobile app", Scopes: []string{"events:write", "events:read"}},
}

// Run serves and plays until the context is done or the time is over.
func (c *demoCommand) Run(ctx context.Context, std *streams) error {
	cfg, err := config.Default()
	if err != nil {
		return err
	}
	cfg.Data, cfg.Listen = c.Data, c.Listen
	if err := cfg.Check(); err != nil {
		return usageError(err.Error())
	}
	if c.For > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, c.For)
		defer stop()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	address := make(chan app.Address, 1)
	served := make(chan error, 1)
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	go func() {
		err := app.Run(ctx, cfg, log, thisBuild().public(), func(a app.Address) { address <- a })
		cancel(err)
		served <- err
	}()
	select {
	case err := <-served:
		return err
	case a := <-address:
		if err := c.play(ctx, std, a); err != nil && ctx.Err() == nil {
			cancel(nil)
			return errors.Join(err, <-served)
		}
	}
	return <-served
}

// play creates the applications, plays the past, tells how to go on, and then
// plays the present.
func (c *demoCommand) play(ctx context.Context, std *streams, a app.Address) error {
	key := std.getenv("EYE_ADMIN_KEY")
	if key == "" {
		text, err := os.ReadFile(filepath.Join(c.Data, "admin.key"))
		if err != nil {
			return fmt.Errorf("read the operator's key: %w", err)
		}
		key = string(text[:len(text)-1])
	}
	fmt.Fprintf(std.out, "The Eye is at %s\n\n", a.URL)
	s := stage{std: std, senders: map[string]*client.Client{}, keys: map[string]string{}, rand: rand.New(rand.NewPCG(c.Seed, 0))}
	if err := s.admit(ctx, a.URL, key); err != nil {
		return err
	}
	session, err := s.past(ctx, c.Sessions)
	if err != nil {
		return err
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, `
Send an event:
  curl -i %[1]s/v1/events \
    -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' \
    -d '{"session_id":"%[3]s","category":"page interaction","name":"cta click","data":{"host":"www.example.com","path":"/","element":"chat bubble"},"timestamp":"%[4]s"}'

Read that session, in the order in which it happened:
  curl -s %[1]s/v1/sessions/%[3]s/events -H 'Authorization: Bearer %[5]s'

See what was refused, and why:
  curl -s %[1]s/v1/quarantine -H 'Authorization: Bearer %[5]s'

The calls of the API are at %[1]s/docs. All data lies in %[6]s.
`, a.URL, s.keys["web-shop"], session, time.Now().UTC().Format(time.RFC3339), key, data)
	if c.For == 0 {
		fmt.Fprintln(std.out, "Traffic goes on; Ctrl-C ends it.")
	}
	return s.present(ctx)
}

// stage is where the demo's traffic is played.
type stage struct {
	std     *streams
	senders map[string]*client.Client // by application
	keys    map[string]string         // by application
	rand    *rand.Rand
	wait    time.Duration // how long a request waits until it is processed
}

// admit creates the applications and a key for each.
func (s *stage) admit(ctx context.Context, url, adminKey string) error {
	admin, err := client.New(url, client.Options{Key: adminKey})
	if err != nil {
		return err
	}
	defer admin.CloseIdleConnections()
	for _, a := range demoApplications {
		// Of an earlier demo on the same data it is there already.
		if _, err := admin.CreateApplication(ctx, a); err != nil {
			if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != 409 {
				return fmt.Errorf("create application %s: %w", a.ID, err)
			}
		}
		credential, err := admin.CreateCredential(ctx, a.ID, client.NewCredential{Kind: "api_key"})
		if err != nil {
			return fmt.Errorf("create a key for %s: %w", a.ID, err)
		}
		s.keys[a.ID] = credential.Secret
		if s.senders[a.ID], err = client.New(url, client.Options{Key: credential.Secret, Patience: 10 * time.Second}); err != nil {
			return err
		}
		fmt.Fprintf(s.std.out, "application %-11s key %s\n", a.ID, credential.Secret)
	}
	return nil
}

// past plays sessions of the last two hours and returns the id of one that all
// applications share.
func (s *stage) past(ctx context.Context, sessions int) (string, error) {
	var sent tally
	var shown string
	watched := terminal(s.std.err)
	start := time.Now()
	defer func() { s.wait = 0 }()
	for i := range sessions {
		j := newJourney(s.rand, start.Add(-time.Duration(s.rand.IntN(7200))*time.Second))
		if i == sessions-1 {
			s.wait = 10 * time.Second // once these are processed, all before them are
		}
		if err := s.send(ctx, j, &sent); err != nil {
			return "", err
		}
		if j.shared || shown == "" {
			shown = j.session
		}
		if watched {
			fmt.Fprintf(s.std.err, "\rplaying the past two hours: %d of %d sessions", i+1, sessions)
		}
	}
	if watched {
		fmt.Fprintf(s.std.err, "\r%60s\r", "")
	}
	fmt.Fprintf(s.std.out, "\n%d sessions played: %d events accepted (%d of them late, %d out of order), %d refused\n",
		sessions, sent.accepted, sent.late, sent.disordered, sent.refused)
	return shown, nil
}

// present plays one session after the other, slowly, until ctx is done.
func (s *stage) present(ctx context.Context) error {
	for {
		j := newJourney(s.rand, time.Now())
		for _, next := range j.steps {
			next.at = time.Now()
			if err := s.sendSteps(ctx, j, []step{next}, &tally{}); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Duration(200+s.rand.IntN(600)) * time.Millisecond):
			}
		}
	}
}

// tally counts what became of the traffic.
type tally struct{ accepted, refused, late, disordered int }

// send sends a session of the past: each application what it saw, in the order
// in which it got round to it.
func (s *stage) send(ctx context.Context, j *journey, sent *tally) error {
	var now, late []step
	for _, next := range j.steps {
		if next.late {
			late = append(late, next)
			sent.late++
		} else {
			now = append(now, next)
		}
	}
	for i := range now { // a few neighbours change places on their way
		if i > 0 && s.rand.IntN(6) == 0 {
			now[i-1], now[i] = now[i], now[i-1]
			sent.disordered++
		}
	}
	if err := s.sendSteps(ctx, j, now, sent); err != nil {
		return err
	}
	return s.sendSteps(ctx, j, late, sent)
}

// sendSteps sends the steps as requests of one application each.
func (s *stage) sendSteps(ctx context.Context, j *journey, steps []step, sent *tally) error {
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].application == steps[0].application {
			n++
		}
		events := make([]json.RawMessage, n)
		for i, step := range steps[:n] {
			events[i] = step.json(j)
		}
		result, err := s.senders[steps[0].application].SendJSON(ctx, s.wait, events...)
		if err != nil && result.Accepted()+result.Refused() != n {
			return fmt.Errorf("send events of %s: %w", steps[0].application, err)
		}
		sent.accepted += result.Accepted()
		sent.refused += result.Refused()
		steps = steps[n:]
	}
	return nil
}
