package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/riverqueue/river"
)

type orderWorker struct {
	river.WorkerDefaults[orderArgs]
}

// Work prints what it got, and CLOCK_MONOTONIC in seconds when it began.
func (*orderWorker) Work(_ context.Context, job *river.Job[orderArgs]) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return print(map[string]any{
		"id": job.ID, "at": float64(now.Nano()) / 1e9, "args": job.Args, "attempt": job.Attempt,
		"tags": job.Tags, "metadata": string(job.Metadata),
	})
}

// work looks by itself only every 30 s, so that what is worked sooner was announced. It prints
// "listening" when it is.
func work(ctx context.Context, pool *pgxpool.Pool, queue string) error {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &orderWorker{}); err != nil {
		return err
	}
	client, err := client(pool, &river.Config{
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: 30 * time.Second,
		Queues:            map[string]river.QueueConfig{queue: {MaxWorkers: 10}},
		Workers:           workers,
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	if err := print("listening"); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return client.Stop(ctx)
}
