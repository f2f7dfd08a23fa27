package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// soakArgs say what is to become of a job; tests/interop/soak/worker.py reads them alike.
type soakArgs struct {
	Number  int    `json:"number"`
	Do      string `json:"do"`
	Fail    int    `json:"fail"`
	Snooze  int    `json:"snooze"`
	DelayMS int    `json:"delay_ms"`
	LastMS  int    `json:"last_ms"`
}

func (a soakArgs) plan() soakArgs { return a }

// The kinds differ in what works them in Python.
type (
	loopArgs   struct{ soakArgs }
	threadArgs struct{ soakArgs }
)

func (loopArgs) Kind() string   { return "soak.loop" }
func (threadArgs) Kind() string { return "soak.thread" }

type planned interface {
	river.JobArgs
	plan() soakArgs
}

type soakWorker[T planned] struct {
	river.WorkerDefaults[T]

	journal *os.File
}

func (*soakWorker[T]) NextRetry(job *river.Job[T]) time.Time {
	return time.Now().Add(time.Duration(job.Args.plan().DelayMS) * time.Millisecond)
}

// Work keeps a journal that outlives the process.
func (w *soakWorker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	if err := note(w.journal, "begin", job.JobRow); err != nil {
		return err
	}
	outcome := end(ctx, job.JobRow, job.Args.plan())
	if err := note(w.journal, "end", job.JobRow); err != nil {
		return err
	}
	return outcome
}

// end decides by the row, so that it does not matter who had the attempts before, and who died.
func end(ctx context.Context, job *rivertype.JobRow, plan soakArgs) error {
	if plan.Do == "wait" {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * time.Second):
			return errors.New("nobody cancelled it")
		}
	}
	time.Sleep(time.Duration(plan.LastMS) * time.Millisecond)
	var before struct {
		Snoozes int `json:"snoozes"`
		Rescues int `json:"river:rescue_count"`
	}
	if err := json.Unmarshal(job.Metadata, &before); err != nil {
		return err
	}
	switch {
	case before.Snoozes < plan.Snooze:
		return river.JobSnooze(time.Duration(plan.DelayMS) * time.Millisecond)
	case len(job.Errors)-before.Rescues < plan.Fail:
		return errors.New("planned")
	case plan.Do == "cancel":
		return river.JobCancel(errors.New("planned"))
	}
	return nil
}

// note writes a line with what happened, the job, its attempt and CLOCK_MONOTONIC in nanoseconds.
func note(journal *os.File, what string, job *rivertype.JobRow) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	_, err := fmt.Fprintf(journal, "%s %d %d %d\n", what, job.ID, job.Attempt, now.Nano())
	return err
}

// soak works queues as any client does, until SIGTERM.
func (s *side) soak(ctx context.Context) error {
	rescue, err := time.ParseDuration(s.args[3])
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(s.args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer journal.Close()
	queues := map[string]river.QueueConfig{}
	for _, name := range strings.Split(s.args[2], ",") {
		queues[name] = river.QueueConfig{MaxWorkers: 20}
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &soakWorker[loopArgs]{journal: journal}); err != nil {
		return err
	}
	if err := river.AddWorkerSafely(workers, &soakWorker[threadArgs]{journal: journal}); err != nil {
		return err
	}
	client, err := s.client(river.Config{
		ID: s.args[0], JobTimeout: rescue - time.Second, Queues: queues, RescueStuckJobsAfter: rescue,
		Workers: workers,
	})
	if err != nil {
		return err
	}
	asked, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	if err := client.Start(ctx); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(journal, "started"); err != nil {
		return err
	}
	<-asked.Done()
	if err := client.Stop(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(journal, "stopped")
	return err
}

type seed struct {
	Kind        string   `json:"kind"`
	Args        soakArgs `json:"args"`
	Queue       string   `json:"queue"`
	Priority    int      `json:"priority"`
	MaxAttempts int      `json:"max_attempts"`
	AheadMS     int      `json:"ahead_ms"`
	Unique      bool     `json:"unique"`
}

func (s *seed) params() river.InsertManyParams {
	opts := &river.InsertOpts{
		MaxAttempts: s.MaxAttempts, Priority: s.Priority, Queue: s.Queue,
		UniqueOpts: river.UniqueOpts{ByArgs: s.Unique},
	}
	if s.AheadMS > 0 {
		opts.ScheduledAt = time.Now().Add(time.Duration(s.AheadMS) * time.Millisecond)
	}
	if s.Kind == (loopArgs{}).Kind() {
		return river.InsertManyParams{Args: loopArgs{s.Args}, InsertOpts: opts}
	}
	return river.InsertManyParams{Args: threadArgs{s.Args}, InsertOpts: opts}
}

// sow inserts the jobs of a file, unique ones each by itself, and prints the numbers of those that
// became rows.
func (s *side) sow(ctx context.Context) error {
	text, err := os.ReadFile(s.args[0])
	if err != nil {
		return err
	}
	var seeds []seed
	if err := json.Unmarshal(text, &seeds); err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	many, rows := []river.InsertManyParams{}, []int{}
	for _, each := range seeds {
		params := each.params()
		if !each.Unique {
			many, rows = append(many, params), append(rows, each.Args.Number)
			continue
		}
		result, err := client.Insert(ctx, params.Args, params.InsertOpts)
		if err != nil {
			return err
		}
		if !result.UniqueSkippedAsDuplicate {
			rows = append(rows, each.Args.Number)
		}
	}
	if len(many) > 0 {
		if _, err := client.InsertMany(ctx, many); err != nil {
			return err
		}
	}
	return print(rows)
}
