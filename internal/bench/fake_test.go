package bench_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/bench"
)

// TestMain makes the test's own executable the program that bench starts as its
// children: `serve` is a fake server, `bench bare` the real bare handler.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		os.Exit(serveFake(os.Args[2:]))
	case len(os.Args) > 3 && os.Args[1] == "bench" && os.Args[2] == "bare":
		ctx, stop := signal.NotifyContext(bg, syscall.SIGTERM)
		defer stop()
		if err := bench.Bare(ctx, os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// fake is a server that keeps the part of the contract that bench needs, in
// memory, or breaks it in the way that a test asks for.
type fake struct {
	key string

	lose    int           // of so many acknowledged events in batches, one is forgotten
	double  int           // of so many, one is listed twice
	move    int           // of so many, one is listed in another session
	refuse  int           // of so many requests, one is answered with 503
	cut     int           // of so many requests, one gets no answer, though its events are kept
	delay   time.Duration // until an event is readable
	pages   int           // most events a page has, below what is asked for
	lenient bool          // accepts events that break rules

	mu       sync.Mutex
	requests int
	taken    int
	apps     map[string]string // id by key
	seen     map[string]bool   // application/id
	events   []kept            // by timestamp
	refused  int
}

type kept struct {
	ID        string          `json:"id"`
	SessionID string          `json:"session_id"`
	Category  string          `json:"category"`
	Name      string          `json:"name"`
	Data      json.RawMessage `json:"data"`
	Timestamp string          `json:"timestamp"`

	at       time.Time // when it was taken
	twice    bool
	position int
}

func newFake(key string) *fake {
	return &fake{key: key, apps: map[string]string{}, seen: map[string]bool{}}
}

func (f *fake) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("GET /metrics", f.metrics)
	mux.HandleFunc("POST /v1/applications", f.operator(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
	}))
	mux.HandleFunc("POST /v1/applications/{id}/credentials", f.operator(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		secret := fmt.Sprintf("eye_secret%d", len(f.apps))
		f.apps[secret] = r.PathValue("id")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]string{"secret": secret})
	}))
	mux.HandleFunc("POST /v1/events", f.post)
	mux.HandleFunc("GET /v1/events", f.list)
	mux.HandleFunc("GET /v1/events/{application}/{id}", f.one)
	return mux
}

func bearer(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (f *fake) operator(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if bearer(r) != f.key {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func (f *fake) metrics(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(w, "# HELP x y\neye_journal_records_total %d\n", f.taken+f.refused)
	for disposition, n := range map[string]int{"stored": len(f.events), "duplicate": f.taken - len(f.events), "quarantined": f.refused} {
		fmt.Fprintf(w, "eye_process_records_total{disposition=%q} %d\n", disposition, n)
	}
	fmt.Fprintf(w, "eye_journal_last_block 7\neye_process_committed_block 5\n")
}

// every tells whether the n-th is one of which there is one in so many.
func every(n, many int) bool { return many > 0 && n%many == many-1 }

func (f *fake) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var sent []kept
	single := body[0] == '{'
	if single {
		sent = make([]kept, 1)
		err = json.Unmarshal(body, &sent[0])
	} else {
		err = json.Unmarshal(body, &sent)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	app, known := f.apps[bearer(r)]
	f.requests++
	switch {
	case !known:
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case every(f.requests, f.refuse):
		w.Header().Set("Retry-After", "0")
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	type refusal struct {
		Index      int              `json:"index"`
		Violations []map[string]any `json:"violations"`
	}
	var errs []refusal
	for i := range sent {
		if !f.lenient && !valid(&sent[i]) {
			errs = append(errs, refusal{i, []map[string]any{{"pointer": "", "code": "required", "message": strings.Repeat("long ", 200)}}})
			f.refused++
			continue
		}
		f.take(app, sent[i], single)
	}
	if every(f.requests, f.cut) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case len(errs) == len(sent):
		w.WriteHeader(http.StatusUnprocessableEntity)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
	if single {
		fmt.Fprintf(w, `{"status":"accepted","id":%q,"receipt":"r"}`, sent[0].ID)
		return
	}
	out, _ := json.Marshal(errs)
	fmt.Fprintf(w, `{"accepted":%d,"rejected":%d,"receipts":{"first":"a","last":"b"},"errors":%s}`, len(sent)-len(errs), len(errs), out)
}

func valid(e *kept) bool {
	at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
	return err == nil && time.Until(at) < time.Minute && e.SessionID != "" && e.Category != "" && e.Name != "" &&
		len(e.Data) > 0 && e.Data[0] == '{'
}

func (f *fake) take(app string, e kept, single bool) {
	f.taken++
	if f.seen[app+"/"+e.ID] {
		return
	}
	f.seen[app+"/"+e.ID] = true
	if !single && every(f.taken, f.lose) {
		return
	}
	e.twice = every(f.taken, f.double)
	if every(f.taken, f.move) {
		e.SessionID = "another"
	}
	e.at, e.position = time.Now(), f.taken
	f.events = append(f.events, e)
}

// readable is what can be read by now, in order.
func (f *fake) readable() []kept {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []kept
	for _, e := range f.events {
		if time.Since(e.at) < f.delay {
			continue
		}
		all = append(all, e)
		if e.twice {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b kept) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.position, b.position))
	})
	return all
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	if f.pages > 0 {
		limit = min(limit, f.pages)
	}
	skip, _ := strconv.Atoi(q.Get("cursor"))
	var match []kept
	for _, e := range f.readable() {
		if from := q.Get("from"); from != "" && e.Timestamp < from {
			continue
		}
		if to := q.Get("to"); to != "" && e.Timestamp >= to {
			continue
		}
		match = append(match, e)
	}
	var next *string
	if end := skip + limit; end < len(match) {
		text := strconv.Itoa(end)
		next, match = &text, match[:end]
	}
	json.NewEncoder(w).Encode(map[string]any{"items": match[min(skip, len(match)):], "next": next})
}

func (f *fake) one(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.events) - 1; i >= 0; i-- {
		if e := &f.events[i]; e.ID == r.PathValue("id") && time.Since(e.at) >= f.delay {
			json.NewEncoder(w).Encode(e)
			return
		}
	}
	http.NotFound(w, r)
}

// serveFake is the fake as a process.
func serveFake(args []string) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	data, listen := flags.String("data", "", ""), flags.String("listen", "", "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if os.Getenv("EYE_LEAKED") != "" || len(os.Getenv("EYE_ADMIN_KEY")) < 32 {
		fmt.Fprintln(os.Stderr, "the environment is wrong")
		return 1
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for dir, size := range map[string]int{"journal": 1000, "store": 500} {
		if err := os.Mkdir(filepath.Join(*data, dir), 0o700); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.WriteFile(filepath.Join(*data, dir, "1"), make([]byte, size), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	text := fmt.Sprintf(`{"url":"http://%s","pid":%d}`, l.Addr(), os.Getpid())
	if err := os.WriteFile(filepath.Join(*data, "serve.json"), []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(bg, syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Handler: newFake(os.Getenv("EYE_ADMIN_KEY")).handler()}
	go srv.Serve(l)
	<-ctx.Done()
	srv.Close()
	return 0
}
