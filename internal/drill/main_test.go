package drill_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/the-eye/eye/internal/app" // so that a change of the program makes cached results stale
)

var (
	roundsFlag = flag.Int("drill.rounds", 0, "rounds of the crash drill and of the power-loss drill; 0 is the short form")
	seedFlag   = flag.Uint64("drill.seed", 0, "seed of what is sent and of the plan of deaths; 0 takes a random one")
	raceFlag   = flag.Bool("drill.race", false, "build the program under test with the race detector")
)

func TestMain(m *testing.M) {
	if os.Getenv(natsDir) != "" {
		os.Exit(serveNATS())
	}
	flag.Parse()
	if code, done := ownNamespace(); done {
		os.Exit(code)
	}
	code := m.Run()
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

// long tells whether this is the long form.
func long() bool { return *roundsFlag > 0 }

// rounds is how many there shall be, given those of the short form.
func rounds(short int) int {
	if long() {
		return *roundsFlag
	}
	return short
}

// seed is the seed of one test. A test that fails says how to repeat it; the
// moments at which processes die are not repeated exactly.
func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64N(1 << 32)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; repeat with: go test -count=1 -timeout=120m -v -run='^%s$' ./internal/drill -drill.rounds=%d -drill.seed=%d",
				s, t.Name(), *roundsFlag, s)
		}
	})
	return s
}

var binaryDir string

// binary builds the program with the places to die at, once.
var binary = sync.OnceValues(func() (string, error) {
	// The sources of the command cannot be imported; looking at them makes the
	// test cache depend on them.
	sources, err := filepath.Glob("../../cmd/eye/*.go")
	if err != nil || len(sources) == 0 {
		return "", errors.Join(err, errors.New("the sources of cmd/eye are not where the drill looks for them"))
	}
	for _, file := range sources {
		if _, err := os.Stat(file); err != nil {
			return "", err
		}
	}
	if binaryDir, err = os.MkdirTemp("", "eye-drill-"); err != nil {
		return "", err
	}
	path := filepath.Join(binaryDir, "eye")
	args := []string{"build", "-buildvcs=false", "-tags=drill", "-o", path}
	if *raceFlag {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../../cmd/eye")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

// eventually asks again and again until ok, for at most limit. It is for what
// only polling from outside can show.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the test ended while waiting for: %s", what)
		}
	}
	return time.Since(start)
}
