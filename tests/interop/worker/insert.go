package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
)

// batch is how many jobs one call inserts, and how many come before what is timed.
const batch = 1000

// insert prints the seconds that the calls took, without the making of the jobs. What comes first is
// not timed: connections, plans, and the first pages of the table.
func insert(ctx context.Context, pool *pgxpool.Pool, method string, rows int) error {
	client, err := client(pool, &river.Config{})
	if err != nil {
		return err
	}
	size, call := batch, func(jobs []river.InsertManyParams) error {
		_, err := client.InsertMany(ctx, jobs)
		return err
	}
	switch method {
	case "many":
	case "fast":
		call = func(jobs []river.InsertManyParams) error {
			_, err := client.InsertManyFast(ctx, jobs)
			return err
		}
	case "single":
		size, call = 1, func(jobs []river.InsertManyParams) error {
			_, err := client.Insert(ctx, jobs[0].Args, nil)
			return err
		}
	default:
		return fmt.Errorf("unknown method %q", method)
	}
	took := time.Duration(0)
	for first := 0; first < batch+rows; first += size {
		jobs := make([]river.InsertManyParams, min(size, batch+rows-first))
		for place := range jobs {
			jobs[place].Args = order(first + place)
		}
		began := time.Now()
		if err := call(jobs); err != nil {
			return err
		}
		if first >= batch {
			took += time.Since(began)
		}
	}
	return print(map[string]any{"seconds": took.Seconds()})
}
