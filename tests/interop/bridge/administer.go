package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// filters are those of JobList and JobDeleteMany.
type filters struct {
	IDs        []int64              `json:"ids"`
	Kinds      []string             `json:"kinds"`
	Priorities []int16              `json:"priorities"`
	Queues     []string             `json:"queues"`
	States     []rivertype.JobState `json:"states"`
	TagsAll    []string             `json:"tags_all"`
	TagsAny    []string             `json:"tags_any"`
	Metadata   json.RawMessage      `json:"metadata"`
	Limit      int                  `json:"limit"`
}

type list struct {
	filters
	OrderBy    river.JobListOrderByField `json:"order_by"`
	Descending bool                      `json:"descending"`
	After      string                    `json:"after"`
}

type operation struct {
	filters
	Do     string          `json:"do"`
	ID     int64           `json:"id"`
	Name   string          `json:"name"`
	Output json.RawMessage `json:"output"`
}

// administer reads lists, then does operations, each by the client's call of that name.
func (s *side) administer(ctx context.Context) error {
	var given struct {
		Lists      []list      `json:"lists"`
		Operations []operation `json:"operations"`
	}
	if err := json.Unmarshal([]byte(s.args[0]), &given); err != nil {
		return err
	}
	client, err := s.client(river.Config{})
	if err != nil {
		return err
	}
	pages, results := []map[string]any{}, []map[string]any{}
	for _, each := range given.Lists {
		page, err := each.page(ctx, client)
		if err != nil {
			return fmt.Errorf("list %+v: %w", each, err)
		}
		pages = append(pages, page)
	}
	for _, each := range given.Operations {
		jobs, queue, err := each.perform(ctx, client)
		said, err := word(err)
		if err != nil {
			return fmt.Errorf("%s %d %s: %w", each.Do, each.ID, each.Name, err)
		}
		result := map[string]any{"error": said, "jobs": states(jobs), "queue": nil}
		if queue != nil {
			result["queue"] = []any{queue.Name, queue.PausedAt, queue.UpdatedAt}
		}
		results = append(results, result)
	}
	return print(map[string]any{"pages": pages, "results": results})
}

func (l *list) page(ctx context.Context, client *river.Client[pgx.Tx]) (map[string]any, error) {
	params := river.NewJobListParams().First(l.Limit).IDs(l.IDs...).Kinds(l.Kinds...).
		Priorities(l.Priorities...).Queues(l.Queues...).TagsAll(l.TagsAll...).TagsAny(l.TagsAny...)
	if len(l.States) > 0 {
		params = params.States(l.States...)
	}
	if len(l.Metadata) > 0 {
		params = params.Metadata(string(l.Metadata))
	}
	if l.OrderBy != "" {
		order := river.SortOrderAsc
		if l.Descending {
			order = river.SortOrderDesc
		}
		params = params.OrderBy(l.OrderBy, order)
	}
	if l.After != "" {
		cursor := &river.JobListCursor{}
		if err := cursor.UnmarshalText([]byte(l.After)); err != nil {
			return nil, err
		}
		params = params.After(cursor)
	}
	result, err := client.JobList(ctx, params)
	if err != nil {
		return nil, err
	}
	page := map[string]any{"jobs": states(result.Jobs), "cursor": ""}
	if result.LastCursor != nil {
		text, err := result.LastCursor.MarshalText()
		if err != nil {
			return nil, err
		}
		page["cursor"] = string(text)
	}
	return page, nil
}

func (o *operation) perform(
	ctx context.Context, client *river.Client[pgx.Tx],
) ([]*rivertype.JobRow, *rivertype.Queue, error) {
	switch o.Do {
	case "job_get":
		return one(client.JobGet(ctx, o.ID))
	case "job_cancel":
		return one(client.JobCancel(ctx, o.ID))
	case "job_retry":
		return one(client.JobRetry(ctx, o.ID))
	case "job_delete":
		return one(client.JobDelete(ctx, o.ID))
	case "job_update":
		return one(client.JobUpdate(ctx, o.ID, &river.JobUpdateParams{Output: o.Output}))
	case "job_delete_many":
		params := river.NewJobDeleteManyParams().First(o.Limit).IDs(o.IDs...).Kinds(o.Kinds...).
			Priorities(o.Priorities...).Queues(o.Queues...).States(o.States...)
		result, err := client.JobDeleteMany(ctx, params)
		if err != nil {
			return nil, nil, err
		}
		return result.Jobs, nil, nil
	case "queue_get":
		queue, err := client.QueueGet(ctx, o.Name)
		return nil, queue, err
	case "queue_pause":
		return nil, nil, client.QueuePause(ctx, o.Name, nil)
	case "queue_resume":
		return nil, nil, client.QueueResume(ctx, o.Name, nil)
	case "queue_update":
		queue, err := client.QueueUpdate(ctx, o.Name, &river.QueueUpdateParams{Metadata: o.Metadata})
		return nil, queue, err
	}
	return nil, nil, fmt.Errorf("unknown: %q", o.Do)
}

func one(job *rivertype.JobRow, err error) ([]*rivertype.JobRow, *rivertype.Queue, error) {
	if err != nil {
		return nil, nil, err
	}
	return []*rivertype.JobRow{job}, nil, nil
}

func states(jobs []*rivertype.JobRow) [][]any {
	found := [][]any{}
	for _, job := range jobs {
		found = append(found, []any{job.ID, job.State})
	}
	return found
}

// word names the errors that a caller may meet; others are failures.
func word(err error) (string, error) {
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, rivertype.ErrNotFound):
		return "not found", nil
	case errors.Is(err, rivertype.ErrJobRunning):
		return "running", nil
	case errors.As(err, &refused) && refused.Code == "23505":
		return "conflict", nil
	}
	return "", err
}
