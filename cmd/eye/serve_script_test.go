package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/the-eye/eye/internal/app"
)

// scriptPatience is how long a script waits for what happens by itself.
const scriptPatience = 30 * time.Second

// eventually asks now and again until ok, and ends the script when that takes
// too long.
func eventually(ts *testscript.TestScript, what string, ok func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(scriptPatience); !ok(); <-tick.C {
		if time.Now().After(end) {
			ts.Fatalf("after %v still not: %s", scriptPatience, what)
		}
	}
}

// waitReady is `waitready [DIR]`: it waits until the server of the data
// directory (EYE_DATA) answers /readyz, and sets URL to its address.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: waitready [dir]")
	}
	dir := ts.Getenv("EYE_DATA")
	if dir == "" {
		dir = ts.MkAbs("eye-data")
	}
	if len(args) == 1 {
		dir = ts.MkAbs(args[0])
	}
	eventually(ts, "the server of "+dir+" is ready", func() bool {
		a, err := app.ReadAddress(dir)
		if err != nil {
			return false
		}
		r, err := http.Get(a.URL + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		ts.Setenv("URL", a.URL)
		return r.StatusCode == http.StatusOK
	})
}

// waitStored is `waitstored`: it waits until the server at URL has processed
// everything that it took.
func waitStored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: waitstored")
	}
	eventually(ts, "everything taken is processed", func() bool {
		r, err := http.Get(ts.Getenv("URL") + "/metrics")
		ts.Check(err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		ts.Check(err)
		return sumOf(ts, text, "eye_ingest_accepted_total")+sumOf(ts, text, "eye_ingest_refused_total") == sumOf(ts, text, "eye_process_records_total")
	})
}

// sumOf adds up the samples of a metric.
func sumOf(ts *testscript.TestScript, metrics []byte, name string) (sum float64) {
	for _, sample := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllSubmatch(metrics, -1) {
		value, err := strconv.ParseFloat(string(sample[1]), 64)
		ts.Check(err)
		sum += value
	}
	return sum
}

// waitFor is `waitfor FILE REGEXP`: it waits until a line of the file matches.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor file regexp")
	}
	line, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	eventually(ts, args[0]+" matches "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && line.Match(text)
	})
}

// envFrom is `envfrom NAME FILE [REGEXP]`: it sets NAME to the text of the file
// (stdout for what was printed last), or to what the expression, or its group,
// finds in it.
func envFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: envfrom name file [regexp]")
	}
	text := strings.TrimSpace(ts.ReadFile(args[1]))
	if len(args) == 3 {
		find, err := regexp.Compile("(?m)" + args[2])
		ts.Check(err)
		found := find.FindStringSubmatch(text)
		if found == nil {
			ts.Fatalf("%s has nothing like %s:\n%s", args[1], args[2], text)
		}
		text = found[len(found)-1]
	}
	ts.Setenv(args[0], text)
}
