// Command upkeep lets tests compare riverbridge's maintenance with River's own, statement by
// statement, and stand for election beside River's client.
//
//	upkeep migrate  DSN SCHEMA
//	upkeep schedule DSN SCHEMA NOW MAX
//	upkeep clean    DSN SCHEMA NOW MAX CANCELLED COMPLETED DISCARDED   (seconds to keep; -1: for ever)
//	upkeep lead     DSN SCHEMA CLIENT_ID                               (until standard input ends)
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type idleArgs struct{}

func (idleArgs) Kind() string { return "idle" }

type idleWorker struct {
	river.WorkerDefaults[idleArgs]
}

func (*idleWorker) Work(context.Context, *river.Job[idleArgs]) error { return nil }

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, dsn, schema string, args []string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	switch command {
	case "migrate":
		migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Schema: schema})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	case "schedule":
		return schedule(ctx, driver.GetExecutor(), schema, args)
	case "clean":
		return clean(ctx, driver.GetExecutor(), schema, args)
	case "lead":
		return lead(ctx, pool, schema, args[0])
	}
	return fmt.Errorf("unknown command %q", command)
}

func schedule(ctx context.Context, exec riverdriver.Executor, schema string, args []string) error {
	now, limit, err := nowAndMax(args)
	if err != nil {
		return err
	}
	results, err := exec.JobSchedule(ctx, &riverdriver.JobScheduleParams{Max: limit, Now: &now, Schema: schema})
	if err != nil {
		return err
	}
	conflicts := []int64{}
	for _, result := range results {
		if result.ConflictDiscarded {
			conflicts = append(conflicts, result.Job.ID)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"jobs": len(results), "conflicts": conflicts})
}

func clean(ctx context.Context, exec riverdriver.Executor, schema string, args []string) error {
	now, limit, err := nowAndMax(args)
	if err != nil {
		return err
	}
	var keep [3]time.Duration
	for i, text := range args[2:5] {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		keep[i] = time.Duration(seconds) * time.Second
	}
	count, err := exec.JobDeleteBefore(ctx, &riverdriver.JobDeleteBeforeParams{
		CancelledDoDelete:           keep[0] >= 0,
		CancelledFinalizedAtHorizon: now.Add(-keep[0]),
		CompletedDoDelete:           keep[1] >= 0,
		CompletedFinalizedAtHorizon: now.Add(-keep[1]),
		DiscardedDoDelete:           keep[2] >= 0,
		DiscardedFinalizedAtHorizon: now.Add(-keep[2]),
		Max:                         limit,
		Schema:                      schema,
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"jobs": count})
}

func lead(ctx context.Context, pool *pgxpool.Pool, schema, clientID string) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &idleWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:      clientID,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Queues:  map[string]river.QueueConfig{"idle": {MaxWorkers: 1}},
		Schema:  schema,
		Workers: workers,
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	fmt.Println("started")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return client.Stop(ctx)
}

func nowAndMax(args []string) (time.Time, int, error) {
	now, err := time.Parse(time.RFC3339Nano, args[0])
	if err != nil {
		return now, 0, err
	}
	limit, err := strconv.Atoi(args[1])
	return now, limit, err
}
