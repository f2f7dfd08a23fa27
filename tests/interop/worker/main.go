// Command worker is River itself where Python inserts: it works what was inserted, and it inserts
// and works the same jobs as fast as it can, to be compared with.
//
//	worker work   DSN QUEUE      work a queue, a line of JSON per job, until stdin ends
//	worker insert DSN METHOD     insert, timed, as many jobs as each line of stdin says, by METHOD:
//	                             many, fast or single
//	worker drain  DSN FILE QUEUE CLIENTS WORKERS
//	                             work a backlog until SIGTERM, then write the number of calls to FILE
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, *pgxpool.Pool, string) error{
		"work": work, "insert": insert,
	}
	if len(args) == 6 && args[0] == "drain" {
		return drain(ctx, args[1], args[2], args[3], args[4], args[5])
	}
	if len(args) != 3 || commands[args[0]] == nil {
		return fmt.Errorf("usage: worker work DSN QUEUE | worker insert DSN METHOD | " +
			"worker drain DSN FILE QUEUE CLIENTS WORKERS")
	}
	pool, err := pgxpool.New(ctx, args[1])
	if err != nil {
		return err
	}
	defer pool.Close()
	return commands[args[0]](ctx, pool, args[2])
}

// client makes a client that inserts, or works if config names queues and workers.
func client(pool *pgxpool.Pool, config *river.Config) (*river.Client[pgx.Tx], error) {
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return river.NewClient(riverpgxv5.New(pool), config)
}

// print writes a line at once: os.Stdout is not buffered.
func print(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }
