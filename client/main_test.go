package client_test

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// over returns a Client of the server that needs no network.
func over(t testing.TB, s *clienttest.Server, o client.Options) *client.Client {
	t.Helper()
	if o.Key == "" {
		o.Key = clienttest.OperatorKey
	}
	o.HTTPClient = &http.Client{Transport: s.Transport()}
	c, err := client.New("http://eye.test", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// click is a good event.
func click(session string) client.Event {
	return client.Event{SessionID: session, Category: "page interaction", Name: "cta click", Data: map[string]any{"path": "/"}}
}

// failing answers the first n sends with status, and counts them.
func failing(n int, status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || n == 0 {
			return false
		}
		n--
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// cut breaks the connection instead of answering.
func cut() { panic(http.ErrAbortHandler) }
