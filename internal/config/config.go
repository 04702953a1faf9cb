// Package config holds every setting of the server: its meaning, unit, default
// and range.
//
// A setting has one name, in three spellings: the flag --journal-max-bytes, the
// variable EYE_JOURNAL_MAX_BYTES, and the key journal-max-bytes of the YAML file
// given with --config. A flag beats the variable, which beats the file.
package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config is the settings of `eye serve`. The tags are what the command line,
// the file and the documentation are made of.
type Config struct {
	Data   string `env:"EYE_DATA" default:"./eye-data" placeholder:"DIR" help:"Directory for everything that is kept; made when missing."`
	Listen string `env:"EYE_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to serve HTTP on; port 0 takes a free one."`

	AdminKey Secret `env:"EYE_ADMIN_KEY" placeholder:"KEY" help:"The operator's API key, with every scope; at least 32 characters. Without one, a key is made and kept in DIR/admin.key."`

	LogLevel  string `env:"EYE_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least level to log: debug, info, warn or error."`
	LogFormat string `env:"EYE_LOG_FORMAT" default:"text" enum:"text,json" help:"How to log to standard error: text or json."`

	Journal Journal `embed:"" prefix:"journal-"`
	Store   Store   `embed:"" prefix:"store-"`
	Ingest  Ingest  `embed:"" prefix:"ingest-"`

	ReadTimeout  time.Duration `env:"EYE_READ_TIMEOUT" default:"30s" help:"How long a whole request may take to arrive."`
	DrainTimeout time.Duration `env:"EYE_DRAIN_TIMEOUT" default:"20s" help:"How long requests in flight may take to end after SIGTERM."`
	DebugListen  string        `env:"EYE_DEBUG_LISTEN" placeholder:"ADDR" help:"Loopback address to serve Go profiles (pprof) on; off when empty."`
}

// Journal is the settings of the journal.
type Journal struct {
	URL         string        `name:"url" env:"EYE_JOURNAL_URL" placeholder:"URL" help:"NATS servers to keep the journal on (nats://…), comma-separated; embedded when empty."`
	Credentials string        `env:"EYE_JOURNAL_CREDENTIALS" placeholder:"FILE" help:"NATS credentials file for --journal-url."`
	Replicas    int           `env:"EYE_JOURNAL_REPLICAS" default:"1" help:"Copies of the journal on a NATS cluster: 1, 3 or 5."`
	Synced      bool          `env:"EYE_JOURNAL_SYNCED" default:"false" help:"Says that the servers of --journal-url sync before they acknowledge (sync_interval: always), for when they cannot be asked. Needed with one replica."`
	MaxBytes    Bytes         `env:"EYE_JOURNAL_MAX_BYTES" default:"0" help:"Most that the journal may hold; when full, events are refused with 503. 0 takes a quarter of the file system, from 256 MiB to 64 GiB."`
	Retention   time.Duration `env:"EYE_JOURNAL_RETENTION" default:"72h" help:"How long the journal keeps blocks that are stored, space permitting."`
	MinFree     Bytes         `env:"EYE_JOURNAL_MIN_FREE" default:"0" help:"Free disk space below which events are refused with 503; 0 takes 5 % of the file system, from 64 MiB to 1 GiB."`
}

// Store is the settings of the store and of the processing into it.
type Store struct {
	Memory   Bytes         `env:"EYE_STORE_MEMORY" default:"1GiB" help:"Most memory for the store's engine."`
	Threads  int           `env:"EYE_STORE_THREADS" default:"0" help:"Threads of the store's engine; 0 takes half as many as there are processors."`
	Interval time.Duration `env:"EYE_STORE_INTERVAL" default:"100ms" help:"Least time between two transactions while nobody waits: the delay until an event is readable."`
}

// Ingest is the limits at the door.
type Ingest struct {
	EventBytes    Bytes `env:"EYE_INGEST_EVENT_BYTES" default:"1MiB" help:"Most bytes of one event."`
	RequestEvents int   `env:"EYE_INGEST_REQUEST_EVENTS" default:"10000" help:"Most events in one request."`
	RequestBytes  Bytes `env:"EYE_INGEST_REQUEST_BYTES" default:"16MiB" help:"Most bytes of one request after decompression."`
	InFlightBytes Bytes `env:"EYE_INGEST_IN_FLIGHT_BYTES" default:"256MiB" help:"Most bytes of all requests that are being answered; beyond, 503."`
}

// MinAdminKey is the least length of the operator's key, in characters.
const MinAdminKey = 32

// Check reports every setting that cannot be, with its value and what can be.
func (c *Config) Check() error {
	var errs []error
	bad := func(ok bool, name string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v; it must be %s", name, value, want))
		}
	}
	bad(c.Data != "", "data", `""`, "a directory")
	_, port, err := net.SplitHostPort(c.Listen)
	bad(err == nil && port != "", "listen", c.Listen, "an address such as 127.0.0.1:8080")
	bad(c.AdminKey == "" || len([]rune(string(c.AdminKey))) >= MinAdminKey, "admin-key", "too short",
		fmt.Sprintf("at least %d characters long", MinAdminKey))
	if c.Journal.URL != "" {
		for one := range strings.SplitSeq(c.Journal.URL, ",") {
			u, err := url.Parse(strings.TrimSpace(one))
			bad(err == nil && u.Host != "", "journal-url", one, "a URL such as nats://127.0.0.1:4222")
		}
	}
	bad(c.Journal.Replicas == 1 || c.Journal.Replicas == 3 || c.Journal.Replicas == 5, "journal-replicas", c.Journal.Replicas, "1, 3 or 5")
	bad(c.Journal.Replicas == 1 || c.Journal.URL != "", "journal-replicas", c.Journal.Replicas, "1 unless journal-url names a cluster")
	bad(c.Journal.MaxBytes == 0 || c.Journal.MaxBytes >= 64<<20, "journal-max-bytes", c.Journal.MaxBytes, "0 or at least 64MiB")
	bad(c.Journal.Retention >= 0, "journal-retention", c.Journal.Retention, "0s or more")
	bad(c.Journal.MinFree >= 0, "journal-min-free", c.Journal.MinFree, "0 or more")
	bad(c.Store.Memory >= 128<<20, "store-memory", c.Store.Memory, "at least 128MiB")
	bad(c.Store.Threads >= 0 && c.Store.Threads <= 256, "store-threads", c.Store.Threads, "from 0 to 256")
	bad(c.Store.Interval >= 0 && c.Store.Interval <= time.Minute, "store-interval", c.Store.Interval, "from 0s to 1m")
	bad(c.Ingest.RequestBytes >= 1<<10 && c.Ingest.RequestBytes <= 16<<20, "ingest-request-bytes", c.Ingest.RequestBytes, "from 1KiB to 16MiB")
	bad(c.Ingest.EventBytes >= 1<<10 && c.Ingest.EventBytes <= c.Ingest.RequestBytes, "ingest-event-bytes", c.Ingest.EventBytes, "from 1KiB to ingest-request-bytes")
	bad(c.Ingest.RequestEvents >= 1 && c.Ingest.RequestEvents <= 65536, "ingest-request-events", c.Ingest.RequestEvents, "from 1 to 65536")
	// A compressed request is held as it came and decompressed.
	bad(c.Ingest.InFlightBytes >= 3*c.Ingest.RequestBytes, "ingest-in-flight-bytes", c.Ingest.InFlightBytes, "at least three times ingest-request-bytes")
	bad(c.ReadTimeout >= time.Second, "read-timeout", c.ReadTimeout, "at least 1s")
	bad(c.DrainTimeout >= 0, "drain-timeout", c.DrainTimeout, "0s or more")
	if c.DebugListen != "" {
		host, _, err := net.SplitHostPort(c.DebugListen)
		ip := net.ParseIP(host)
		bad(err == nil && (host == "localhost" || ip != nil && ip.IsLoopback()), "debug-listen", c.DebugListen, "a loopback address such as 127.0.0.1:6060")
	}
	return errors.Join(errs...)
}

// Secret is a setting that is never shown.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// Bytes is a size. It is written as a number with or without a unit: 1048576,
// 512KiB, 64MiB, 10GiB, 2TiB, or 10GB in powers of ten.
type Bytes int64

var units = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, u := range units {
		at := len(s) - len(u.suffix) // bytes, so that no letter beyond ASCII can stand for one of a unit
		if at < 0 || !strings.EqualFold(s[at:], u.suffix) {
			continue
		}
		digits := s[:at]
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63) // no sign, neither - nor +
		if err != nil || n > uint64(math.MaxInt64/u.factor) {
			break
		}
		*b = Bytes(int64(n) * u.factor)
		return nil
	}
	return fmt.Errorf("%q is no size; write a whole number with a unit, e.g. 512MiB or 10GiB", s)
}

// String writes the size with the largest unit that leaves it whole.
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; b != 0 && int64(b)%u.factor == 0 {
			return strconv.FormatInt(int64(b)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
