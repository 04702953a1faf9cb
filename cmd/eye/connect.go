package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/the-eye/eye/client"
)

// connection is which server a command talks to, and with which key.
type connection struct {
	URL string `name:"url" env:"EYE_URL" group:"connect" placeholder:"URL" help:"Address of the server. Without it: where serve.json of the data directory says, then http://127.0.0.1:8080."`
	Key string `env:"EYE_KEY" group:"connect" placeholder:"KEY" help:"API key. Without it: EYE_ADMIN_KEY, then the operator's key in the data directory of a server on this machine."`
}

// dataDir is where a server on this machine keeps its data.
type dataDir struct {
	Dir string `name:"data-dir" aliases:"data" env:"EYE_DATA" default:"./eye-data" group:"connect" placeholder:"DIR" help:"Data directory of a server on this machine; default ${default}."`
}

// dataDirOnly is dataDir for commands whose --data is about payloads.
type dataDirOnly struct {
	Dir string `name:"data-dir" env:"EYE_DATA" default:"./eye-data" group:"connect" placeholder:"DIR" help:"Data directory of a server on this machine; default ${default}."`
}

// server is an open connection, and where its parts came from.
type server struct {
	*client.Client
	url     string
	urlFrom string // "" for the default
	key     string
	keyFrom string // "" without a key
}

// defaultURL is where `eye serve` listens when nothing else is said.
const defaultURL = "http://127.0.0.1:8080"

// open finds the server and the key. It does not connect.
func (c connection) open(std *streams, dir string) (*server, error) {
	dir = cmp.Or(dir, "./eye-data") // EYE_DATA may be set and empty
	s := &server{url: c.URL, urlFrom: "--url or EYE_URL"}
	running, err := runningAt(dir)
	if err != nil {
		return nil, err
	}
	if s.url == "" {
		s.url, s.urlFrom = defaultURL, ""
		if running != "" {
			s.url, s.urlFrom = running, filepath.Join(dir, "serve.json")
		}
	}
	if err := c.findKey(s, std, dir, running); err != nil {
		return nil, err
	}
	if s.Client, err = s.with(0); err != nil {
		return nil, usageError(err.Error())
	}
	return s, nil
}

// with is a client of the same server that goes on trying for so long.
func (s *server) with(patience time.Duration) (*client.Client, error) {
	return client.New(s.url, client.Options{Key: s.key, Patience: patience, UserAgent: "eye/" + thisBuild().Version})
}

// runningAt is the address that a server has left in its data directory, ""
// when there is none.
func runningAt(dir string) (string, error) {
	path := filepath.Join(dir, "serve.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var v struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(text, &v); err != nil || v.URL == "" {
		return "", fmt.Errorf("%s does not say where the server is; give --url", path)
	}
	return v.URL, nil
}

// findKey finds the key. The operator's key in the data directory goes only to
// the server that it belongs to, or at least no further than this machine.
func (c connection) findKey(s *server, std *streams, dir, running string) error {
	if c.Key != "" {
		s.key, s.keyFrom = c.Key, "--key or EYE_KEY"
		return nil
	}
	if key := std.getenv("EYE_ADMIN_KEY"); key != "" {
		s.key, s.keyFrom = key, "EYE_ADMIN_KEY"
		return nil
	}
	if strings.TrimRight(s.url, "/") != running && !loopback(s.url) {
		return nil
	}
	path := filepath.Join(dir, "admin.key")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read the operator's key: %w; give another key with --key or EYE_KEY", err)
	}
	s.key, s.keyFrom = strings.TrimSpace(string(text)), path
	return nil
}

// loopback tells whether the address is on this machine for certain.
func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// explain makes of an error one that says what to do next.
func (s *server) explain(err error) error {
	var p *client.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return s.explainProblem(p, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		if filepath.Base(s.urlFrom) == "serve.json" {
			return fmt.Errorf("nothing answers at %s, where %s says that a server is: was it killed? Start it again with \"eye serve\", or give --url", s.url, s.urlFrom)
		}
		return fmt.Errorf("nothing answers at %s: is \"eye serve\" running? Start it, or say where it is with --url or EYE_URL", s.url)
	case errors.As(err, new(*net.DNSError)):
		return fmt.Errorf("%w: check the address from %s", err, s.urlFrom)
	}
	return err
}

// explainProblem is explain for what the server itself refused.
func (s *server) explainProblem(p *client.Problem, err error) error {
	switch {
	case p.Status == http.StatusUnauthorized && s.keyFrom == "":
		return fmt.Errorf("%s wants a key: give one with --key or EYE_KEY, or name the server's data directory with --data-dir or EYE_DATA; \"eye app create NAME\" makes one", s.url)
	case p.Status == http.StatusUnauthorized:
		return fmt.Errorf("%s does not accept the key from %s: it is mistyped, expired or revoked, or belongs to another server", s.url, s.keyFrom)
	case p.Status == http.StatusForbidden:
		return fmt.Errorf("%w; it came from %s", err, s.keyFrom)
	}
	return err
}
