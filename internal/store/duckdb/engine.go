package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	duck "github.com/duckdb/duckdb-go/v2"
	"github.com/gofrs/uuid/v5"

	"github.com/the-eye/eye/internal/store"
)

// format is the version of the tables that this code reads and writes.
const format = 1

// catalog is the name of the attached file inside the engine. The engine's own
// database stays in memory and empty: only ATTACH takes a row group size.
const catalog = "eye"

//go:embed sql/create.sql
var createSQL string

// openEngine starts a DuckDB and attaches the file.
func openEngine(ctx context.Context, o Options) (*sql.DB, error) {
	settings := url.Values{
		"threads":      {strconv.Itoa(o.Threads)},
		"memory_limit": {strconv.FormatInt(o.MemoryLimit, 10) + "B"},
		// Questions may spill, but only beside the file.
		"temp_directory": {o.Path + ".tmp"},
		// Nothing is ever fetched from the network.
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
		// Checkpoints are ours to start: never inside a commit.
		"checkpoint_threshold": {"1TB"},
		// Each large batch leaves a small row group behind its full ones. A
		// checkpoint would melt all of them down at once, rewriting their full
		// neighbours, for seconds in which nothing can be committed.
		"max_vacuum_tasks": {"2"},
	}
	attach := fmt.Sprintf("ATTACH IF NOT EXISTS %s AS %s (ROW_GROUP_SIZE %d, STORAGE_VERSION 'latest')",
		quote(o.Path), catalog, o.RowGroupSize)
	connector, err := duck.NewConnector(":memory:?"+settings.Encode(), func(c driver.ExecerContext) error {
		for _, statement := range []string{attach, "USE " + catalog} {
			if _, err := c.ExecContext(context.WithoutCancel(ctx), statement, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(o.Readers + 3) // the writer, a checkpoint, a merge
	db.SetMaxIdleConns(2)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// quote makes an SQL string of text that comes from the operator.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// prepareSchema creates the tables in a new file and checks those of an old one.
func (s *Store) prepareSchema(ctx context.Context) error {
	var tables int
	err := s.writer.QueryRowContext(ctx,
		"SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'store'", catalog).Scan(&tables)
	if err != nil {
		return fmt.Errorf("look for tables: %w", err)
	}
	if tables == 0 {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("name the store: %w", err)
		}
		return s.transaction(ctx, func() error {
			if _, err := s.writer.ExecContext(ctx, createSQL); err != nil {
				return fmt.Errorf("create tables: %w", err)
			}
			_, err := s.writer.ExecContext(ctx, "INSERT INTO store.meta VALUES (?, ?, 0)", format, id.String())
			return err
		})
	}
	var found int
	if err := s.writer.QueryRowContext(ctx, "SELECT format FROM store.meta").Scan(&found); err != nil {
		return fmt.Errorf("read format: %w", err)
	}
	if found != format {
		return fmt.Errorf("the file has format %d, this version reads format %d: use the version of The Eye that wrote it, or a newer one", found, format)
	}
	return nil
}

// transaction runs do on the writer's connection: all of it or nothing. A
// commit, once begun, is not cancelled.
func (s *Store) transaction(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	settle := context.WithoutCancel(ctx)
	if _, err := s.writer.ExecContext(settle, "BEGIN TRANSACTION"); err != nil {
		return s.judge(err)
	}
	if err := do(); err != nil {
		if _, rollback := s.writer.ExecContext(settle, "ROLLBACK"); rollback != nil {
			// Nobody knows what this connection would write next.
			return s.breakWith(errors.Join(err, fmt.Errorf("roll back: %w", rollback)))
		}
		return s.judge(err)
	}
	if _, err := s.writer.ExecContext(settle, "COMMIT"); err != nil {
		// The engine has rolled back by itself, or cannot be helped.
		return s.judge(fmt.Errorf("commit: %w", err))
	}
	return nil
}

// judge tells an error that ends the engine from one that ends a statement.
func (s *Store) judge(err error) error {
	var e *duck.Error
	if errors.As(err, &e) && (e.Type == duck.ErrorTypeFatal || e.Type == duck.ErrorTypeInternal ||
		strings.Contains(e.Msg, "database has been invalidated")) {
		return s.breakWith(err)
	}
	return err
}

// breakWith marks the store as broken; the first reason stays.
func (s *Store) breakWith(err error) error {
	fault := fmt.Errorf("%w: %w", store.ErrBroken, err)
	if s.fault.CompareAndSwap(nil, &fault) {
		s.log.Error("store is broken", "err", err)
	}
	return *s.fault.Load()
}
