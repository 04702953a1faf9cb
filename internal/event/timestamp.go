package event

import "time"

// ParseTimestamp reads an instant in either of the forms that an event may
// carry: RFC 3339 with any offset and up to nine fraction digits, or
// YYYY-MM-DD HH:MM:SS[.ffffff] without offset, which means UTC. What is finer
// than a microsecond is cut off.
func ParseTimestamp(text string) (Micros, bool) { return parseTimestamp([]byte(text)) }

func parseTimestamp(b []byte) (Micros, bool) {
	// 2006-01-02T15:04:05
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	year, ok1 := number(b[0:4])
	month, ok2 := number(b[5:7])
	day, ok3 := number(b[8:10])
	hour, ok4 := number(b[11:13])
	minute, ok5 := number(b[14:16])
	second, ok6 := number(b[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	spaced := b[10] == ' '
	if !spaced && b[10] != 'T' && b[10] != 't' {
		return 0, false
	}
	rest := b[19:]
	micros := 0
	if len(rest) > 0 && rest[0] == '.' {
		n := 1
		for n < len(rest) && rest[n]-'0' <= 9 {
			if n <= 6 {
				micros = micros*10 + int(rest[n]-'0')
			}
			n++
		}
		if n == 1 || n > 10 {
			return 0, false
		}
		for k := n; k <= 6; k++ {
			micros *= 10
		}
		rest = rest[n:]
	}
	offset := 0 // minutes east of UTC
	switch {
	case len(rest) == 0 && spaced:
	case len(rest) == 1 && (rest[0] == 'Z' || rest[0] == 'z'):
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, ok1 := number(rest[1:3])
		m, ok2 := number(rest[4:6])
		if !ok1 || !ok2 || h > 23 || m > 59 {
			return 0, false
		}
		offset = h*60 + m
		if rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute-offset, second, 0, time.UTC)
	if y := t.Year(); y < 0 || y > 9999 {
		return 0, false // an offset moved it out of the years that can be written
	}
	return Micros(t.Unix()*1e6 + int64(micros)), true
}

// number reads digits and nothing else.
func number(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
