package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// An acknowledgement of JetStream alone does not mean that the disk has the
// data: with the default sync_interval of two minutes a power cut loses all of
// them. So the effective setting is looked up, not assumed.

// syncing is what is known about the servers' setting.
type syncing int

const (
	syncUnknown syncing = iota
	syncAlways          // before each acknowledgement
	syncLater           // at intervals
)

// ErrNotSynced: the journal server acknowledges before its disk has the data.
var ErrNotSynced = errors.New("the journal server acknowledges before data is synced to disk")

// checkEmbeddedSync reads the setting back from the running server.
func (s *Server) checkEmbeddedSync() error {
	config := s.embedded.JetStreamConfig()
	if config == nil {
		return errors.New("JetStream is not enabled")
	}
	info, err := s.embedded.Jsz(&server.JSzOptions{Config: true})
	if err != nil {
		return fmt.Errorf("read the effective sync setting: %w", err)
	}
	if !config.SyncAlways || !info.Config.SyncAlways {
		s.syncs = syncLater
		return ErrNotSynced
	}
	s.syncs = syncAlways
	return nil
}

// askSync asks external servers for their setting. That is open only to
// accounts to which the operator exports it, so no answer is the usual case.
func (s *Server) askSync(ctx context.Context) syncing {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	inbox := s.conn.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return syncUnknown
	}
	defer sub.Unsubscribe() // fails only on a closed connection
	if err := s.conn.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, []byte(`{"config":true}`)); err != nil {
		return syncUnknown
	}
	known := syncUnknown
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil || len(m.Data) == 0 {
			return known // all have answered, or nobody is there to
		}
		var answer struct {
			Data *struct {
				Disabled bool `json:"disabled"`
				Config   struct {
					SyncAlways bool `json:"sync_always"`
				} `json:"config"`
			} `json:"data"`
		}
		if json.Unmarshal(m.Data, &answer) != nil || answer.Data == nil || answer.Data.Disabled {
			continue
		}
		if !answer.Data.Config.SyncAlways {
			return syncLater
		}
		known = syncAlways
	}
}

// checkSync decides whether a stream with so many replicas may be trusted.
// vouched: the operator says that the servers sync.
func (s *Server) checkSync(stream string, replicas int, vouched bool) error {
	switch {
	case s.syncs == syncAlways:
		s.log.Info("the journal is synced to disk before each acknowledgement", "stream", stream, "replicas", replicas)
	case s.syncs == syncUnknown && vouched:
		s.log.Info("the journal is synced to disk before each acknowledgement, says its operator", "stream", stream, "replicas", replicas)
	case replicas > 1:
		s.log.Warn("the journal servers do not sync before they acknowledge, as far as they tell: a power cut that hits most of them loses events; set sync_interval: always on each",
			"stream", stream, "replicas", replicas)
	case s.syncs == syncUnknown:
		return fmt.Errorf("%w, as far as it tells: set sync_interval: always in its jetstream section and say so here, or use three replicas", ErrNotSynced)
	default:
		return fmt.Errorf("%w: set sync_interval: always in its jetstream section, or use three replicas", ErrNotSynced)
	}
	return nil
}
