package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
)

// batch is how many jobs one call inserts.
const batch = 1000

// insert reads a number a line, inserts so many jobs, and prints the seconds that the calls took,
// without the making of the jobs.
func insert(ctx context.Context, pool *pgxpool.Pool, method string) error {
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
	number := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		count, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		took := time.Duration(0)
		for last := number + count; number < last; {
			jobs := make([]river.InsertManyParams, min(size, last-number))
			for place := range jobs {
				jobs[place].Args = order(number)
				number++
			}
			began := time.Now()
			if err := call(jobs); err != nil {
				return err
			}
			took += time.Since(began)
		}
		if err := print(map[string]any{"seconds": took.Seconds()}); err != nil {
			return err
		}
	}
	return nil
}
