package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// twinArgs say what the worker does with the job.
type twinArgs struct {
	Do      string  `json:"do"`
	Text    string  `json:"text"`
	Seconds float64 `json:"seconds"`
}

func (twinArgs) Kind() string { return "twin" }

type twinWorker struct {
	river.WorkerDefaults[twinArgs]
}

func (*twinWorker) Work(_ context.Context, job *river.Job[twinArgs]) error {
	switch job.Args.Do {
	case "complete":
		return nil
	case "fail":
		return errors.New(job.Args.Text)
	case "cancel":
		return river.JobCancel(errors.New(job.Args.Text))
	case "snooze":
		return river.JobSnooze(time.Duration(job.Args.Seconds * float64(time.Second)))
	}
	return fmt.Errorf("unknown: do %q", job.Args.Do)
}

func (s *side) worker(id, queue string, config river.QueueConfig) (*river.Config, error) {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &twinWorker{}); err != nil {
		return nil, err
	}
	return &river.Config{
		ID: id, Queues: map[string]river.QueueConfig{queue: config}, Workers: workers,
	}, nil
}

// work fetches once, so that a job that is available again a second later is not worked again.
func (s *side) work(ctx context.Context) error {
	count, err := s.number(2)
	if err != nil {
		return err
	}
	once := river.QueueConfig{
		MaxWorkers: 1000, FetchCooldown: time.Minute, FetchPollInterval: time.Hour,
	}
	config, err := s.worker(s.args[0], s.args[1], once)
	if err != nil {
		return err
	}
	client, err := s.client(*config)
	if err != nil {
		return err
	}
	events, unsubscribe := client.Subscribe(
		river.EventKindJobCompleted, river.EventKindJobCancelled, river.EventKindJobFailed,
		river.EventKindJobSnoozed,
	)
	defer unsubscribe()
	if err := client.Start(ctx); err != nil {
		return err
	}
	for range count {
		select {
		case <-events:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return client.Stop(ctx)
}

// discard sends what River's executor sends for a job that has no attempts left.
func (s *side) discard(ctx context.Context) error {
	executor := riverpgxv5.New(s.pool).GetExecutor()
	jobs, err := executor.JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
		ClientID: s.args[0], MaxAttemptedBy: 100, MaxToLock: 1000, Queue: s.args[1], Schema: s.schema,
	})
	if err != nil {
		return err
	}
	many := &riverdriver.JobSetStateIfRunningManyParams{Schema: s.schema}
	for _, job := range jobs {
		data, err := json.Marshal(rivertype.AttemptError{
			At: time.Now(), Attempt: job.Attempt, Error: s.args[2],
		})
		if err != nil {
			return err
		}
		one := riverdriver.JobSetStateDiscarded(job.ID, time.Now(), data, nil)
		many.ID = append(many.ID, one.ID)
		many.Attempt = append(many.Attempt, one.Attempt)
		many.ErrData = append(many.ErrData, one.ErrData)
		many.FinalizedAt = append(many.FinalizedAt, one.FinalizedAt)
		many.MetadataDoMerge = append(many.MetadataDoMerge, one.MetadataDoMerge)
		many.MetadataUpdates = append(many.MetadataUpdates, one.MetadataUpdates)
		many.ScheduledAt = append(many.ScheduledAt, one.ScheduledAt)
		many.State = append(many.State, one.State)
	}
	_, err = executor.JobSetStateIfRunningMany(ctx, many)
	return err
}

// serve works a queue and stands for election, as any River client does.
func (s *side) serve(ctx context.Context) error {
	config, err := s.worker(s.args[0], s.args[1], river.QueueConfig{MaxWorkers: 10})
	if err != nil {
		return err
	}
	client, err := s.client(*config)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return client.Stop(ctx)
}

// read gets every job twice, through JobList and through JobGet, and prints what it got.
func (s *side) read(ctx context.Context) error {
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	found := []map[string]any{}
	params := river.NewJobListParams().First(100)
	for {
		page, err := client.JobList(ctx, params)
		if err != nil {
			return fmt.Errorf("JobList: %w", err)
		}
		for _, listed := range page.Jobs {
			job, err := client.JobGet(ctx, listed.ID)
			if err != nil {
				return fmt.Errorf("JobGet %d: %w", listed.ID, err)
			}
			found = append(found, view(job))
		}
		if len(page.Jobs) == 0 {
			return print(found)
		}
		params = river.NewJobListParams().First(100).After(page.LastCursor)
	}
}

func view(job *rivertype.JobRow) map[string]any {
	ats := []time.Time{}
	for _, failure := range job.Errors {
		ats = append(ats, failure.At.UTC())
	}
	return map[string]any{
		"id": job.ID, "state": job.State, "attempt": job.Attempt, "attempted_by": job.AttemptedBy,
		"error_ats": ats, "metadata": json.RawMessage(job.Metadata),
	}
}
