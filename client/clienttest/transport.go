package clienttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// Transport is a way to the Server without a network, so that both can be in
// one bubble of testing/synctest:
//
//	client.New("http://eye.test", client.Options{HTTPClient: &http.Client{Transport: server.Transport()}})
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip calls the handler and returns when it has begun to answer.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	read, write := io.Pipe()
	w := &answer{header: http.Header{}, body: write, begun: make(chan struct{})}
	in := req.Clone(ctx)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer cancel()
		defer func() {
			// A handler that panics with ErrAbortHandler cuts the connection.
			switch p := recover(); p {
			case nil:
				w.WriteHeader(http.StatusOK)
				write.Close()
			case http.ErrAbortHandler:
				w.aborted.Do(func() { close(w.begun) })
				write.CloseWithError(io.ErrUnexpectedEOF)
			default:
				panic(p)
			}
		}()
		t.server.ServeHTTP(w, in)
	}()
	select {
	case <-w.begun:
	case <-req.Context().Done():
		read.CloseWithError(context.Cause(req.Context())) // the handler must not wait for a reader
		return nil, context.Cause(req.Context())
	}
	if w.status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	// A real connection breaks with the context; so does this one.
	stop := context.AfterFunc(req.Context(), func() { write.CloseWithError(context.Cause(req.Context())) })
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &body{read, func() { stop(); cancel() }}, ContentLength: -1, Request: req,
	}, nil
}

// answer is the ResponseWriter of a handler.
type answer struct {
	header  http.Header
	body    *io.PipeWriter
	begun   chan struct{}
	aborted sync.Once // closes begun

	status int         // set before begun is closed
	sent   http.Header // set before begun is closed
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.aborted.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// FlushError is for http.ResponseController; nothing is held back.
func (a *answer) FlushError() error {
	a.WriteHeader(http.StatusOK)
	return nil
}

// body ends the request when it is closed.
type body struct {
	*io.PipeReader
	done func()
}

func (b *body) Close() error {
	b.done()
	return b.PipeReader.Close()
}
