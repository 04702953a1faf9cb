package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Disconnect ends all live streams that are open.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.disconnect)
	s.disconnect = make(chan struct{})
}

// Lag sends a notice with that JSON object to all live streams that are open.
func (s *Server) Lag(data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lagged = append(s.lagged, data)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Heartbeat is the pause between comments in a live stream.
const Heartbeat = 15 * time.Second

func (s *Server) getLive(w http.ResponseWriter, r *http.Request, who principal) {
	flush := http.NewResponseController(w)
	heartbeat := time.NewTicker(Heartbeat)
	defer heartbeat.Stop()
	s.mu.Lock()
	disconnect, next, notices := s.disconnect, len(s.events), len(s.lagged)
	s.mu.Unlock()
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(id, "at-"))
		if err != nil {
			problem(w, http.StatusBadRequest, "Bad Last-Event-ID", "It is none that this server gave.", nil)
			return
		}
		next = n
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	fmt.Fprint(w, ": welcome\n\n")
	for {
		s.mu.Lock()
		changed := s.changed
		events, lagged := s.events[min(next, len(s.events)):], s.lagged[notices:]
		disconnected := s.disconnect != disconnect
		s.mu.Unlock()
		if disconnected { // what came after that is for the next stream
			return
		}
		for _, e := range events {
			next++
			if !matches(e, who, r.URL.Query()) {
				continue
			}
			data, err := json.Marshal(e)
			if err != nil {
				panic("clienttest: an event is plain values: " + err.Error())
			}
			fmt.Fprintf(w, "id: at-%d\nevent: event\ndata: %s\n\n", next, data)
		}
		for _, notice := range lagged {
			notices++
			fmt.Fprintf(w, "event: lagged\ndata: %s\n\n", notice)
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-heartbeat.C:
			fmt.Fprint(w, ": still here\n\n")
		case <-disconnect:
			return
		case <-r.Context().Done():
			return
		}
	}
}
