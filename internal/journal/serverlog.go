package journal

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog passes the embedded server's log on. Its notices are about itself
// and of interest only when something is wrong with it.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // the first fatal message: the server has not started
}

func (l *serverLog) Noticef(format string, v ...any) { l.debug(format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.debug(format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.debug(format, v) }

func (l *serverLog) Warnf(format string, v ...any) {
	// We know, and one block in flight on a pipe does not suffer from it.
	if strings.HasPrefix(format, "Maximum payloads over") {
		l.debug(format, v)
		return
	}
	l.log.Warn("journal server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("journal server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("journal server", "message", text)
	select {
	case l.fatal <- text:
	default:
	}
}

func (l *serverLog) debug(format string, v []any) {
	l.log.Debug("journal server", "message", fmt.Sprintf(format, v...))
}
