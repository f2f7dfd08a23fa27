// Command worker is River itself where Python inserts: it works what was inserted, and it inserts
// the same jobs as fast as it can, to be compared with.
//
//	worker work   DSN QUEUE            work a queue, a line of JSON per job, until stdin ends
//	worker insert DSN METHOD ROWS      insert 1,000 jobs, then time ROWS; METHOD is many, fast or single
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: worker work DSN QUEUE | worker insert DSN METHOD ROWS")
	}
	pool, err := pgxpool.New(ctx, args[1])
	if err != nil {
		return err
	}
	defer pool.Close()
	switch {
	case args[0] == "work":
		return work(ctx, pool, args[2])
	case args[0] == "insert" && len(args) == 4:
		rows, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return insert(ctx, pool, args[2], rows)
	}
	return fmt.Errorf("unknown command: %q", args)
}

// client makes a client that inserts, or works if config names queues and workers.
func client(pool *pgxpool.Pool, config *river.Config) (*river.Client[pgx.Tx], error) {
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return river.NewClient(riverpgxv5.New(pool), config)
}

// print writes a line at once: os.Stdout is not buffered.
func print(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }
