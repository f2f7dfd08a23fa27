package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

type orderArgs struct {
	Number int    `json:"number" river:"unique"`
	Note   string `json:"note"`
}

func (orderArgs) Kind() string { return "order" }

type namedArgs struct{ kind string }

func (a namedArgs) Kind() string { return a.kind }

// insert adds COUNT jobs, three in four of them through InsertMany, and says how many are rows:
// every fifth is unique and comes twice.
func (s *side) insert(ctx context.Context) error {
	count, err := s.number(1)
	if err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	many := []river.InsertManyParams{}
	ids := []int64{}
	skipped := 0
	note := func(results ...*rivertype.JobInsertResult) {
		for _, result := range results {
			if result.UniqueSkippedAsDuplicate {
				skipped++
			} else {
				ids = append(ids, result.Job.ID)
			}
		}
	}
	for number := range count {
		args := orderArgs{Number: number, Note: fmt.Sprintf("no. %d <&> \u2028 \"ü\"", number)}
		opts := s.options(number)
		if number%4 != 0 && !opts.UniqueOpts.ByArgs {
			many = append(many, river.InsertManyParams{Args: args, InsertOpts: opts})
			continue
		}
		for range 1 + btoi(opts.UniqueOpts.ByArgs) {
			result, err := client.Insert(ctx, args, opts)
			if err != nil {
				return err
			}
			note(result)
		}
	}
	results, err := client.InsertMany(ctx, many)
	if err != nil {
		return err
	}
	note(results...)
	return print(map[string]any{"ids": ids, "skipped": skipped})
}

// options mixes all priorities, no schedule, a past one and one to three seconds ahead, and keys.
func (s *side) options(number int) *river.InsertOpts {
	opts := &river.InsertOpts{Queue: s.args[0], Priority: 1 + number%4, Tags: []string{"mixed"}}
	switch number % 10 {
	case 3:
		opts.ScheduledAt = time.Now().Add(-time.Hour)
	case 6, 7:
		opts.ScheduledAt = time.Now().Add(time.Duration(1+number%3) * time.Second)
	}
	if number%5 == 0 {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByQueue: number%2 == 0}
	}
	return opts
}

func (s *side) add(ctx context.Context) error {
	ahead, err := strconv.ParseFloat(s.args[2], 64)
	if err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	opts := &river.InsertOpts{Queue: s.args[0]}
	if ahead > 0 {
		opts.ScheduledAt = time.Now().Add(time.Duration(ahead * float64(time.Second)))
	}
	result, err := client.Insert(ctx, namedArgs{s.args[1]}, opts)
	if err != nil {
		return err
	}
	return print(map[string]any{"id": result.Job.ID, "state": result.Job.State})
}

// flood prints, for each job, its id and CLOCK_MONOTONIC in seconds when Insert had returned.
func (s *side) flood(ctx context.Context) error {
	rate, err := s.number(1)
	if err != nil {
		return err
	}
	seconds, err := s.number(2)
	if err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	opts := &river.InsertOpts{Queue: s.args[0]}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	type inserted struct {
		ID int64   `json:"id"`
		At float64 `json:"at"`
	}
	found := make([]inserted, 0, rate*seconds)
	for number := range rate * seconds {
		<-tick.C
		result, err := client.Insert(ctx, orderArgs{Number: number}, opts)
		if err != nil {
			return err
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		found = append(found, inserted{result.Job.ID, float64(now.Nano()) / 1e9})
	}
	return print(found)
}

func (s *side) unique(ctx context.Context) error {
	number, err := s.number(1)
	if err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	opts := &river.InsertOpts{Queue: s.args[0], UniqueOpts: river.UniqueOpts{ByArgs: true}}
	return timed(func() (map[string]any, error) {
		result, err := client.Insert(ctx, orderArgs{Number: number}, opts)
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": result.Job.ID, "skipped": result.UniqueSkippedAsDuplicate}, nil
	})
}

func (s *side) cancel(ctx context.Context) error {
	id, err := strconv.ParseInt(s.args[0], 10, 64)
	if err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	return timed(func() (map[string]any, error) {
		job, err := client.JobCancel(ctx, id)
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": job.State}, nil
	})
}

func (s *side) pause(ctx context.Context) error {
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	return client.QueuePause(ctx, s.args[0], nil)
}

func (s *side) resume(ctx context.Context) error {
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	return client.QueueResume(ctx, s.args[0], nil)
}

func btoi(condition bool) int {
	if condition {
		return 1
	}
	return 0
}
