// Command upkeep lets tests compare riverbridge's maintenance with River's own, statement by
// statement, and stand for election beside River's client.
//
//	upkeep migrate  DSN SCHEMA
//	upkeep schedule DSN SCHEMA NOW MAX
//	upkeep clean    DSN SCHEMA NOW MAX CANCELLED COMPLETED DISCARDED   (seconds to keep; -1: for ever)
//	upkeep lead     DSN SCHEMA CLIENT_ID                               (until standard input ends)
//	upkeep maintain DSN SCHEMA CLIENT_ID                               (the same, with work to maintain)
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

// A job that River's rescuer may find stuck. Kinds differ in how long a job may run.
type (
	twinArgs    struct{}
	patientArgs struct{}
	endlessArgs struct{}
)

func (twinArgs) Kind() string    { return "twin" }
func (patientArgs) Kind() string { return "patient" }
func (endlessArgs) Kind() string { return "endless" }

type stuckWorker[T river.JobArgs] struct {
	river.WorkerDefaults[T]

	timeout time.Duration
}

func (*stuckWorker[T]) Work(context.Context, *river.Job[T]) error { return nil }
func (w *stuckWorker[T]) Timeout(*river.Job[T]) time.Duration     { return w.timeout }
func (*stuckWorker[T]) NextRetry(*river.Job[T]) time.Time         { return time.Now().Add(time.Hour) }

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
		return lead(ctx, pool, &river.Config{ID: args[0], Schema: schema})
	case "maintain":
		return maintain(ctx, pool, &river.Config{ID: args[0], Schema: schema})
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

func maintain(ctx context.Context, pool *pgxpool.Pool, config *river.Config) error {
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, &stuckWorker[twinArgs]{})
	river.AddWorker(config.Workers, &stuckWorker[patientArgs]{timeout: 3 * time.Hour})
	river.AddWorker(config.Workers, &stuckWorker[endlessArgs]{timeout: -1})
	config.PeriodicJobs = []*river.PeriodicJob{river.NewPeriodicJob(
		river.PeriodicInterval(24*time.Hour),
		func() (river.JobArgs, *river.InsertOpts) {
			return twinArgs{}, &river.InsertOpts{Metadata: []byte(`{"mine": 1}`), Queue: "periodic", Priority: 2}
		},
		&river.PeriodicJobOpts{ID: "nightly.twin", RunOnStart: true},
	)}
	return lead(ctx, pool, config)
}

func lead(ctx context.Context, pool *pgxpool.Pool, config *river.Config) error {
	if config.Workers == nil {
		config.Workers = river.NewWorkers()
	}
	river.AddWorker(config.Workers, &idleWorker{})
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	config.Queues = map[string]river.QueueConfig{"idle": {MaxWorkers: 1}}
	client, err := river.NewClient(riverpgxv5.New(pool), config)
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
