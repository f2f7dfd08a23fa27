package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
)

type countingWorker struct {
	river.WorkerDefaults[orderArgs]
	calls atomic.Int64
}

func (w *countingWorker) Work(context.Context, *river.Job[orderArgs]) error {
	w.calls.Add(1)
	return nil
}

// drain works a backlog with the fetch settings of River's own benchmark (cmd/river/riverbench). Each
// client has a pool of its own, of pgx's default size.
func drain(ctx context.Context, dsn, file, queue, clients, workers string) error {
	many, err := strconv.Atoi(clients)
	if err != nil {
		return err
	}
	each, err := strconv.Atoi(workers)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	counting := &countingWorker{}
	var started []*river.Client[pgx.Tx]
	for range many {
		pool, err := pgxpool.New(ctx, dsn)
		if err != nil {
			return err
		}
		defer pool.Close()
		all := river.NewWorkers()
		if err := river.AddWorkerSafely(all, counting); err != nil {
			return err
		}
		client, err := client(pool, &river.Config{
			FetchCooldown:     2 * time.Millisecond,
			FetchPollInterval: 20 * time.Millisecond,
			Queues:            map[string]river.QueueConfig{queue: {MaxWorkers: each}},
			Workers:           all,
		})
		if err != nil {
			return err
		}
		if err := client.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		started = append(started, client)
	}
	<-ctx.Done()
	for _, client := range started {
		if err := client.Stop(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	line, err := json.Marshal(map[string]int64{"calls": counting.calls.Load()})
	if err != nil {
		return err
	}
	return os.WriteFile(file, line, 0o600)
}
