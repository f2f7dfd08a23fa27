package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// twinArgs say what the worker does with the job: `do` once it has recorded the output, if there is
// one, and has waited for its context to end, if it is to.
type twinArgs struct {
	Do      string  `json:"do"`
	Text    string  `json:"text"`
	Seconds float64 `json:"seconds"`
	Output  string  `json:"output"`
	Wait    bool    `json:"wait"`
}

func (twinArgs) Kind() string { return "twin" }

type twinWorker struct {
	river.WorkerDefaults[twinArgs]
	begun chan int64 // the ids of those that wait
}

func (*twinWorker) Timeout(job *river.Job[twinArgs]) time.Duration {
	if job.Args.Do == "time out" {
		return 50 * time.Millisecond
	}
	return 0
}

func (*twinWorker) NextRetry(job *river.Job[twinArgs]) time.Time {
	if job.Args.Do == "fail for" {
		return time.Now().Add(seconds(job))
	}
	return time.Time{}
}

func (w *twinWorker) Work(ctx context.Context, job *river.Job[twinArgs]) error {
	if job.Args.Output != "" {
		if err := river.RecordOutput(ctx, job.Args.Output); err != nil {
			return err
		}
	}
	if job.Args.Wait {
		w.begun <- job.ID
		<-ctx.Done()
	}
	err := errors.New(job.Args.Text)
	switch job.Args.Do {
	case "complete":
		return nil
	case "fail", "fail for", "handled":
		return err
	case "cancel":
		return river.JobCancel(err)
	case "cancel for nothing":
		return river.JobCancel(nil)
	case "cancel deep inside":
		return fmt.Errorf("outside: %w", river.JobCancel(err))
	case "snooze":
		return river.JobSnooze(seconds(job))
	case "snooze deep inside":
		return fmt.Errorf("outside: %w", river.JobSnooze(seconds(job)))
	case "time out", "end":
		<-ctx.Done()
		return ctx.Err()
	}
	return fmt.Errorf("unknown: do %q", job.Args.Do)
}

func seconds(job *river.Job[twinArgs]) time.Duration {
	return time.Duration(job.Args.Seconds * float64(time.Second))
}

// handler cancels the jobs that say they are handled.
type handler struct{}

func (handler) HandleError(_ context.Context, job *rivertype.JobRow, _ error) *river.ErrorHandlerResult {
	args := twinArgs{}
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return &river.ErrorHandlerResult{SetCancelled: args.Do == "handled"}
}

func (handler) HandlePanic(context.Context, *rivertype.JobRow, any, string) *river.ErrorHandlerResult {
	return nil
}

func (s *side) worker(id, queue string, config river.QueueConfig, twin *twinWorker) (*river.Config, error) {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, twin); err != nil {
		return nil, err
	}
	return &river.Config{
		ErrorHandler: handler{}, ID: id, Queues: map[string]river.QueueConfig{queue: config},
		Workers: workers,
	}, nil
}

func (s *side) work(ctx context.Context) error { return s.once(ctx, nil) }

func (s *side) halt(ctx context.Context) error {
	return s.once(ctx, func(client *river.Client[pgx.Tx], ids []int64) error {
		if s.stops() {
			return client.StopAndCancel(ctx)
		}
		for _, id := range ids {
			if _, err := client.JobCancel(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *side) stops() bool { return len(s.args) > 3 && s.args[3] == "stop" }

// once works COUNT jobs of one fetch, so that a job that is available again a second later is not
// worked again, and prints the kind and the state of each one's event. end, if there is one, is
// called with the ids when COUNT wait for their contexts to end.
func (s *side) once(ctx context.Context, end func(*river.Client[pgx.Tx], []int64) error) error {
	count, err := s.number(2)
	if err != nil {
		return err
	}
	once := river.QueueConfig{
		MaxWorkers: 1000, FetchCooldown: time.Minute, FetchPollInterval: time.Hour,
	}
	twin := &twinWorker{begun: make(chan int64, count)}
	config, err := s.worker(s.args[0], s.args[1], once, twin)
	if err != nil {
		return err
	}
	client, err := s.client(*config)
	if err != nil {
		return err
	}
	kinds := []river.EventKind{
		river.EventKindJobCompleted, river.EventKindJobCancelled, river.EventKindJobFailed,
		river.EventKindJobSnoozed,
	}
	if s.stops() {
		kinds = append(kinds, "job_interrupted") // which only the River of v0.44.mod knows
	}
	events, unsubscribe := client.Subscribe(kinds...)
	defer unsubscribe()
	if err := client.Start(ctx); err != nil {
		return err
	}
	if end != nil {
		ids := []int64{}
		for range count {
			ids = append(ids, <-twin.begun)
		}
		if err := end(client, ids); err != nil {
			return err
		}
	}
	told := map[int64][]any{}
	for range count {
		select {
		case event := <-events:
			told[event.Job.ID] = []any{event.Kind, event.Job.State}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := client.Stop(ctx); err != nil {
		return err
	}
	return print(told)
}

func (s *side) fetch(ctx context.Context) error {
	count, err := s.number(2)
	if err != nil {
		return err
	}
	_, err = riverpgxv5.New(s.pool).GetExecutor().JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
		ClientID: s.args[0], MaxAttemptedBy: 100, MaxToLock: count, Queue: s.args[1], Schema: s.schema,
	})
	return err
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
	config, err := s.worker(s.args[0], s.args[1], river.QueueConfig{MaxWorkers: 10}, &twinWorker{})
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
