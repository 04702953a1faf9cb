package event

import "time"

// Micros is an instant: microseconds since 1970-01-01T00:00:00Z.
type Micros int64

// Now is t as an instant, cut to the microsecond.
func Now(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time is the instant as a time.Time in UTC.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// timeLayout is how every instant is written: UTC with six fraction digits, so
// that text sorts as time does.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// String is the instant as the API writes it, e.g. 2021-01-01T09:15:27.243860Z.
func (m Micros) String() string { return m.Time().Format(timeLayout) }

// Append appends String to b.
func (m Micros) Append(b []byte) []byte { return m.Time().AppendFormat(b, timeLayout) }

// MarshalText makes JSON of it.
func (m Micros) MarshalText() ([]byte, error) { return m.Append(nil), nil }
