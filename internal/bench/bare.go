package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// bareAnswer is as long as a real one, and looks like the answer to one event
// and to a batch.
const bareAnswer = `{"status":"accepted","rejected":0,"id":"0191f2a4-0000-7000-8000-000000000000","receipt":"AAAAAAAAAAAAAAAAAAAAAA"}` + "\n"

// Bare serves what The Eye is compared with until ctx ends: an HTTP handler
// that reads the body and says 202. It writes where it listens to the file.
func Bare(ctx context.Context, listening string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, bareAnswer) // the sender may be gone
		}),
	}
	text, err := json.Marshal(map[string]any{"url": "http://" + l.Addr().String(), "pid": os.Getpid()})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := os.WriteFile(listening, text, 0o600); err != nil {
		return errors.Join(fmt.Errorf("say where it listens: %w", err), l.Close())
	}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
