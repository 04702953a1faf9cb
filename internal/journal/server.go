package journal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startTimeout bounds how long an embedded server may take to recover its
// files, and connectTimeout how long reaching an external one may take, when
// the context says nothing shorter.
const (
	startTimeout   = 2 * time.Minute
	connectTimeout = 10 * time.Second
)

// ServerOptions say where JetStream runs.
type ServerOptions struct {
	// URL of an external NATS server or cluster, with user and password or
	// token in it if need be; several are separated by commas. "": a server
	// is started inside this process, without a port.
	URL             string
	CredentialsFile string      // of a NATS user, external only
	TLS             *tls.Config // external only; nil: as the URL and the server ask for

	// Dir is where the embedded server keeps its files.
	Dir string
	// MaxStoreBytes is what the embedded server may store at most, journal and
	// catalog together. 0: the size of the file system of Dir.
	MaxStoreBytes int64

	Log *slog.Logger // nil discards
}

// Server is a connection to JetStream, and the server itself when embedded.
type Server struct {
	log      *slog.Logger
	embedded *server.Server // nil: external
	running  sync.WaitGroup // the embedded server's Start
	conn     *nats.Conn
	js       jetstream.JetStream
	dir      string // of the embedded server
	maxStore int64  // of the embedded server; 0 unknown

	syncs     syncing
	closeOnce sync.Once
	closed    chan struct{}
}

// StartServer starts the embedded server, or connects to an external one. The
// embedded server syncs every write before it acknowledges, which is read back
// from the running server; if that is not so StartServer refuses.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{log: o.Log, closed: make(chan struct{})}
	if err := s.start(ctx, o); err != nil {
		s.shutdown()
		return nil, fmt.Errorf("start journal server: %w", err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o ServerOptions) error {
	options := []nats.Option{
		nats.Name("eye"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// What cannot be sent now must fail now: a block that is sent later,
		// unasked, would be stored after its callers were refused.
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be changing just now
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("journal connection", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.log.Warn("lost the connection to the journal server", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { s.log.Info("connected to the journal server again") }),
	}
	url := o.URL
	if url == "" {
		if err := s.embed(ctx, o); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(s.embedded))
	} else {
		// A peer that vanished silently is to be noticed within seconds.
		options = append(options, nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2))
		if o.CredentialsFile != "" {
			options = append(options, nats.UserCredentials(o.CredentialsFile))
		}
		if o.TLS != nil {
			options = append(options, nats.Secure(o.TLS))
		}
	}
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	var err error
	if s.conn, err = nats.Connect(url, append(options, nats.Timeout(timeout))...); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return err
	}
	if s.embedded != nil {
		return nil
	}
	if _, err := s.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("ask the server for JetStream: %w", err)
	}
	s.syncs = s.askSync(ctx)
	return nil
}

// embed starts the server inside this process.
func (s *Server) embed(ctx context.Context, o ServerOptions) error {
	if o.Dir == "" {
		return errors.New("an embedded server needs a directory")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if o.MaxStoreBytes == 0 {
		o.MaxStoreBytes = 1 << 40
		if fs, err := statfs(dir); err == nil && fs.Total > 0 {
			o.MaxStoreBytes = fs.Total
		}
	}
	log := &serverLog{log: o.Log, fatal: make(chan string, 1)}
	s.embedded, err = server.NewServer(&server.Options{
		ServerName:             "eye",
		DontListen:             true,
		NoLog:                  true, // to files; it logs through serverLog
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             true,
		JetStreamMaxStore:      o.MaxStoreBytes,
		JetStreamMaxMemory:     64 << 20, // consumers; no stream lives in memory
		MaxPayload:             maxPayload,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return err
	}
	s.dir, s.maxStore = dir, o.MaxStoreBytes
	s.embedded.SetLoggerV2(log, false, false, false)
	s.running.Go(s.embedded.Start)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !s.embedded.ReadyForConnections(50 * time.Millisecond) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w", ctx.Err())
		case text := <-log.fatal:
			return errors.New(text)
		default:
		}
	}
	return s.checkEmbeddedSync()
}

// Embedded tells whether the server runs inside this process.
func (s *Server) Embedded() bool { return s.embedded != nil }

// JetStream is the interface to the server, for the catalog.
func (s *Server) JetStream() jetstream.JetStream { return s.js }

// Close ends the connection and the embedded server, and waits for it until ctx
// is done. Call it when the journal's Run has returned.
func (s *Server) Close(ctx context.Context) error {
	go s.shutdown()
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close journal server: %w", ctx.Err())
	}
}

func (s *Server) shutdown() {
	s.closeOnce.Do(func() {
		defer close(s.closed)
		if s.conn != nil {
			s.conn.Close()
		}
		if s.embedded != nil {
			s.embedded.Shutdown()
			s.embedded.WaitForShutdown()
			s.running.Wait()
		}
	})
}
