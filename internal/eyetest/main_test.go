package eyetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/the-eye/eye/internal/eyetest"
)

// Every service of these tests has stopped by then, and must have left nothing.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// all is what an application of these tests may do.
var all = []string{"events:write", "events:read"}

// pageView is an event of session with the id, n microseconds past nine.
func pageView(id, session string, micros int) string {
	return fmt.Sprintf(`{"id":%q,"session_id":%q,"category":"page","name":"view","data":{"id":%q},"timestamp":"2021-01-01 09:00:00.%06d"}`, id, session, id, micros)
}

// batch makes an array of events.
func batch(events ...string) string { return "[" + strings.Join(events, ",") + "]" }

// ids are those of the events, in order.
func ids(events []eyetest.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, e.ID)
	}
	return strings.Join(list, " ")
}

// corpus is a file of testdata/corpus.
func corpus(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../testdata/corpus", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
