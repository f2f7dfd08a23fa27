// Command worker is the demo's worker in Go: River's own client works orders that came back from
// Kafka as jobs, beside a worker in Python.
//
// DATABASE_URL says where; the arguments are the client's id and the queue. It works until SIGTERM.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// order is the args: what the order's first job had.
type order struct {
	OrderID    int64  `json:"order_id"`
	CustomerID string `json:"customer_id"`
	Amount     string `json:"amount"`
}

func (order) Kind() string { return "order.received" }

type receiver struct {
	river.WorkerDefaults[order]
}

// Work takes note of the order.
func (*receiver) Work(ctx context.Context, job *river.Job[order]) error {
	return river.RecordOutput(ctx, map[string]int64{"received": job.Args.OrderID})
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: DATABASE_URL=… worker ID QUEUE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(id, queue string) error {
	asked, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	pool, err := pgxpool.New(asked, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, &receiver{})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:      id,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Queues:  map[string]river.QueueConfig{queue: {MaxWorkers: 100}},
		Workers: workers,
	})
	if err != nil {
		return err
	}
	if err := awaitLeader(asked, pool); err != nil {
		return err
	}
	// What is being worked when it is asked to end is finished.
	if err := client.Start(context.WithoutCancel(asked)); err != nil {
		return err
	}
	<-asked.Done()
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.Stop(ending)
}

// awaitLeader waits for another client to lead River's upkeep: a bridge that leads also writes the
// history that the console shows.
func awaitLeader(ctx context.Context, pool *pgxpool.Pool) error {
	const query = "SELECT EXISTS (SELECT FROM river_leader WHERE expires_at > now())"
	for led := false; !led; {
		if err := pool.QueryRow(ctx, query).Scan(&led); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}
