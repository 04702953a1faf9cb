package config_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/the-eye/eye/internal/config"
)

// command is a command line with one command that has all settings.
type command struct {
	Serve struct {
		File kong.ConfigFlag `name:"config" env:"EYE_CONFIG"`
		config.Config
	} `cmd:""`
}

func parser(t testing.TB, c *command) *kong.Kong {
	t.Helper()
	p, err := kong.New(c, kong.Name("eye"), kong.Configuration(config.File), kong.Exit(func(int) { t.Error("the parser exits") }))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parse reads settings from a file of that text, unless it is "", and flags.
func parse(t testing.TB, file string, flags ...string) (*config.Config, error) {
	t.Helper()
	args := []string{"serve"}
	if file != "" {
		path := filepath.Join(t.TempDir(), "eye.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	var c command
	_, err := parser(t, &c).Parse(append(args, flags...))
	return &c.Serve.Config, err
}

func TestEverySettingIsWhole(t *testing.T) {
	var c command
	flags := parser(t, &c).Model.Leaves(true)[0].Flags
	if len(flags) < 22 {
		t.Fatalf("there are %d settings; want 22 or more", len(flags))
	}
	optional := map[string]bool{"admin-key": true, "journal-url": true, "journal-credentials": true, "debug-listen": true} // off without a value
	for _, f := range flags {
		if f.Name == "config" || f.Name == "help" {
			continue
		}
		want := "EYE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if len(f.Envs) != 1 || f.Envs[0] != want {
			t.Errorf("setting %s has the variables %v; want %s", f.Name, f.Envs, want)
		}
		if f.HasDefault == optional[f.Name] {
			t.Errorf("setting %s has a default: %v; want %v", f.Name, f.HasDefault, !optional[f.Name])
		}
		if !strings.HasSuffix(f.Help, ".") || len(f.Help) < 20 {
			t.Errorf("setting %s has the help %q; want a sentence", f.Name, f.Help)
		}
	}
}

func TestDefaultsHold(t *testing.T) {
	c, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Errorf("the defaults break their own rules: %v", err)
	}
	if c.Data != "./eye-data" || c.Listen != "127.0.0.1:8080" || c.Ingest.EventBytes != 1<<20 || c.Ingest.RequestBytes != 16<<20 ||
		c.Ingest.RequestEvents != 10_000 || c.Journal.MaxBytes != 0 || c.Store.Interval != 100*time.Millisecond {
		t.Errorf("defaults = %+v; want those of the HTTP contract", c)
	}
	parsed, err := parse(t, "")
	if err != nil || !reflect.DeepEqual(parsed, c) {
		t.Errorf("a command line without flags gives %+v, %v; want the defaults", parsed, err)
	}
}

func TestAFlagBeatsTheVariableWhichBeatsTheFile(t *testing.T) {
	const file = "listen: 127.0.0.1:1\ndata: /file\njournal-max-bytes: 1GiB\nstore-interval: 1s\n"
	t.Setenv("EYE_LISTEN", "127.0.0.1:2")
	t.Setenv("EYE_DATA", "/variable")
	t.Setenv("EYE_JOURNAL_MAX_BYTES", "2GiB")
	c, err := parse(t, file, "--listen", "127.0.0.1:3", "--journal-max-bytes=3GiB")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Journal.MaxBytes != 3<<30 {
		t.Errorf("listen = %s, journal-max-bytes = %s; want those of the flags", c.Listen, c.Journal.MaxBytes)
	}
	if c.Data != "/variable" {
		t.Errorf("data = %s; want that of the variable", c.Data)
	}
	if c.Store.Interval != time.Second {
		t.Errorf("store-interval = %v; want that of the file", c.Store.Interval)
	}
	if c.Store.Memory != 1<<30 {
		t.Errorf("store-memory = %v; want the default", c.Store.Memory)
	}
	t.Setenv("EYE_DATA", "") // an empty variable is none
	if c, err = parse(t, file); err != nil || c.Data != "/file" {
		t.Errorf("data = %s, %v; want that of the file", c.Data, err)
	}
}

func TestFile(t *testing.T) {
	for _, c := range []struct {
		name, text, want string // want "" is no error
	}{
		{"nothing", "# only a comment\n", ""},
		{"every kind of value", "log-format: json\njournal-replicas: 1\nread-timeout: 10s\ningest-event-bytes: 512KiB\nadmin-key: 0123456789abcdef0123456789abcdef\n", ""},
		{"a key that is nearly right", "journal-maxbytes: 1GiB\n", `unknown key "journal-maxbytes"; did you mean "journal-max-bytes"?`},
		{"a key in capitals", "Listen: x\n", `did you mean "listen"?`},
		{"a key that is nothing like any", "zzzzzzzzzzzzzzzz: 1\n", `unknown key "zzzzzzzzzzzzzzzz"`},
		{"the file itself", "config: other.yaml\n", `unknown key "config"`},
		{"a mapping below a key", "journal:\n  max-bytes: 1GiB\n", `unknown key "journal"`},
		{"a list", "listen: [a, b]\n", "something other than one value"},
		{"no mapping", "- listen\n", "no YAML mapping"},
		{"no YAML", "\tlisten: {\n", "no YAML mapping"},
		{"a key twice", "listen: a\nlisten: b\n", "no YAML mapping"},
		{"a wrong size", "journal-max-bytes: many\n", "is no size"},
		{"a wrong time", "read-timeout: soon\n", "read-timeout"},
		{"a wrong choice", "log-level: loud\n", "log-level"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.text)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("file %q gives %v; want %q", c.text, err, c.want)
			}
		})
	}
	if _, err := parse(t, "", "--config", filepath.Join(t.TempDir(), "missing.yaml")); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a file that is not there gives %v; want its name", err)
	}
}

func TestCheckReportsAllProblems(t *testing.T) {
	c, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	c.Data, c.Listen, c.AdminKey = "", "8080", "too short"
	c.Journal = config.Journal{URL: "nats://a:4222,nonsense", Replicas: 2, MaxBytes: 1, Retention: -1, MinFree: -1}
	c.Store = config.Store{Memory: 1, Threads: -1, Interval: time.Hour}
	c.Ingest = config.Ingest{EventBytes: 1, RequestBytes: 64 << 20, RequestEvents: 0, InFlightBytes: 1}
	c.ReadTimeout, c.DrainTimeout, c.DebugListen = 0, -1, "0.0.0.0:6060"
	got := strings.Split(c.Check().Error(), "\n")
	want := []string{
		"data", "listen", "admin-key", "journal-url", "journal-replicas", "journal-max-bytes", "journal-retention", "journal-min-free",
		"store-memory", "store-threads", "store-interval", "ingest-request-bytes", "ingest-event-bytes", "ingest-request-events",
		"ingest-in-flight-bytes", "read-timeout", "drain-timeout", "debug-listen",
	}
	if len(got) != len(want) {
		t.Errorf("Check reports %d problems; want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], want[i]+" is ") || !strings.Contains(got[i], "; it must be ") {
			t.Errorf("problem %d is %q; want one of %s, with what it must be", i, got[i], want[i])
		}
	}
	if text := c.Check().Error(); strings.Contains(text, "too short\"") || strings.Contains(text, "= too short") {
		t.Errorf("Check shows the key: %s", text)
	}
}

func TestCheckAtTheBounds(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		good   bool
	}{
		{"a key of 31 characters", func(c *config.Config) { c.AdminKey = config.Secret(strings.Repeat("é", 31)) }, false},
		{"a key of 32 characters", func(c *config.Config) { c.AdminKey = config.Secret(strings.Repeat("é", 32)) }, true},
		{"three replicas without a cluster", func(c *config.Config) { c.Journal.Replicas = 3 }, false},
		{"three replicas", func(c *config.Config) { c.Journal.Replicas, c.Journal.URL = 3, "nats://a:1,nats://b:2" }, true},
		{"profiles on loopback", func(c *config.Config) { c.DebugListen = "[::1]:6060" }, true},
		{"profiles on localhost", func(c *config.Config) { c.DebugListen = "localhost:0" }, true},
		{"profiles on a name", func(c *config.Config) { c.DebugListen = "example.com:6060" }, false},
		{"profiles for everybody", func(c *config.Config) { c.DebugListen = ":6060" }, false},
		{"an address without a port", func(c *config.Config) { c.Listen = "127.0.0.1" }, false},
		{"every interface", func(c *config.Config) { c.Listen = ":8080" }, true},
		{"no drain", func(c *config.Config) { c.DrainTimeout = 0 }, true},
		{"an event as large as a request", func(c *config.Config) { c.Ingest.EventBytes = c.Ingest.RequestBytes }, true},
		{"an event larger than a request", func(c *config.Config) { c.Ingest.EventBytes = c.Ingest.RequestBytes + 1 }, false},
		{"room for two requests", func(c *config.Config) { c.Ingest.InFlightBytes = 2 * c.Ingest.RequestBytes }, false},
		{"room for three requests", func(c *config.Config) { c.Ingest.InFlightBytes = 3 * c.Ingest.RequestBytes }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := config.Default()
			if err != nil {
				t.Fatal(err)
			}
			c.change(cfg)
			if err := cfg.Check(); (err == nil) != c.good {
				t.Errorf("Check = %v; want good: %v", err, c.good)
			}
		})
	}
}

func TestSecretsAreHidden(t *testing.T) {
	if got := config.Secret("swordfish").String(); strings.Contains(got, "sword") {
		t.Errorf("String = %s; want it hidden", got)
	}
	if got := config.Secret("").String(); got != "" {
		t.Errorf("String of no secret = %q; want nothing", got)
	}
}

func TestBytes(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		text  string
		want  int64
		again string // as String writes it
	}{
		{"0", 0, "0"}, {"1", 1, "1"}, {"512", 512, "512"}, {"1024", 1024, "1KiB"}, {"1B", 1, "1"},
		{"512KiB", 512 << 10, "512KiB"}, {"64MiB", 64 << 20, "64MiB"}, {"10GiB", 10 << 30, "10GiB"}, {"2TiB", 2 << 40, "2TiB"},
		{"10GB", 10e9, "9765625KiB"}, {"1KB", 1000, "1000"}, {"1MB", 1e6, "1000000"}, {"3TB", 3e12, "2929687500KiB"},
		{" 5 MiB ", 5 << 20, "5MiB"}, {"5mib", 5 << 20, "5MiB"}, {"5gB", 5e9, "5000000000"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"}, {"8388607TiB", 8388607 << 40, "8388607TiB"},
		{"8388608TiB", none, ""}, {"9223372036854775808", none, ""}, {"", none, ""}, {"MiB", none, ""}, {"-1", none, ""}, {"-1MiB", none, ""},
		{"1.5GiB", none, ""}, {"1e3", none, ""}, {"0x10", none, ""}, {"10 G", none, ""}, {"1GiBB", none, ""}, {"many", none, ""}, {"1 0", none, ""}, {"1_000", none, ""},
		{"+5MiB", none, ""}, {"5MİB", none, ""}, {"5\u212aiB", none, ""},
	} {
		var b config.Bytes = none
		err := b.UnmarshalText([]byte(c.text))
		if c.want == none {
			if err == nil || b != none {
				t.Errorf("UnmarshalText(%q) = %d, %v; want an error", c.text, b, err)
			}
			continue
		}
		if err != nil || int64(b) != c.want || b.String() != c.again {
			t.Errorf("UnmarshalText(%q) = %d (%s), %v; want %d (%s)", c.text, b, b, err, c.want, c.again)
		}
	}
}

// FuzzBytes: what is read is not negative, and is read back as it is written.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"0", "1", "10GiB", "8388607TiB", "-1", "1.5GB", " 7 kb", "9223372036854775807", "5\u212aiB", "B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b, again config.Bytes
		if b.UnmarshalText([]byte(text)) != nil {
			return
		}
		if b < 0 {
			t.Fatalf("UnmarshalText(%q) = %d", text, b)
		}
		if err := errors.Join(again.UnmarshalText([]byte(b.String())), nil); err != nil || again != b {
			t.Fatalf("%q is %d, written %s, read %d, %v", text, b, b, again, err)
		}
	})
}
