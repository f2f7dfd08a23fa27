// Command riverbridgekeys gives River's own unique keys for jobs read from standard input, one as
// JSON a line, and prints one answer a line.
//
// Each job goes through River's client up to the point where it would be sent, and its args as the
// exact text through the function that makes the key. That function is internal to River: the path
// of this module lies below River's, as those of River's own modules do, so that Go lets it in.
//
// With the argument `paths` it prints the paths of the fields tagged unique, by type.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/internal/dbunique"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivershared/structtag"
	"github.com/riverqueue/river/rivertype"
)

type job struct {
	Type        string               `json:"type"`
	Kind        string               `json:"kind"`
	Args        string               `json:"args"`
	Queue       string               `json:"queue"`
	Now         time.Time            `json:"now"`
	ByArgs      bool                 `json:"by_args"`
	ByPeriod    time.Duration        `json:"by_period"`
	ByQueue     bool                 `json:"by_queue"`
	ByState     []rivertype.JobState `json:"by_state"`
	ExcludeKind bool                 `json:"exclude_kind"`
}

// answer is what the client would have sent, and the key over the exact text.
type answer struct {
	Args       string `json:"args"`
	Key        string `json:"key"`
	Mask       byte   `json:"mask"`
	Error      string `json:"error"`
	ExactKey   string `json:"exact_key"`
	ExactError string `json:"exact_error"`
}

// clock stands still at the time of the job in hand.
type clock struct{ at time.Time }

func (c *clock) Now() time.Time       { return c.at }
func (c *clock) NowOrNil() *time.Time { return &c.at }

// recorder keeps what the client would send, and sends nothing.
type recorder struct {
	river.MiddlewareDefaults
	seen *rivertype.JobInsertParams
}

func (r *recorder) InsertMany(
	_ context.Context, many []*rivertype.JobInsertParams,
	_ func(context.Context) ([]*rivertype.JobInsertResult, error),
) ([]*rivertype.JobInsertResult, error) {
	r.seen = many[0]
	return nil, nil
}

func main() {
	run := answerAll
	if len(os.Args) > 1 && os.Args[1] == "paths" {
		run = printPaths
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answerAll() error {
	now, recorded := &clock{}, &recorder{}
	client, err := river.NewClient(riverpgxv5.New(nil), &river.Config{
		Middleware: []rivertype.Middleware{recorded},
		Test:       river.TestConfig{Time: now},
	})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for in.More() {
		var one job
		if err := in.Decode(&one); err != nil {
			return err
		}
		args, err := argsOf(&one)
		if err != nil {
			return err
		}
		now.at = one.Now
		unique := river.UniqueOpts{
			ByArgs: one.ByArgs, ByPeriod: one.ByPeriod, ByQueue: one.ByQueue, ByState: one.ByState,
			ExcludeKind: one.ExcludeKind,
		}
		var found answer
		if err := insert(client, recorded, args, one.Queue, unique, &found); err != nil {
			found.Error = err.Error()
		}
		exact(now, args, &one, unique, &found)
		if err := json.NewEncoder(out).Encode(found); err != nil {
			return err
		}
	}
	return out.Flush()
}

func insert[TTx any](
	client *river.Client[TTx], recorded *recorder, args river.JobArgs, queue string,
	unique river.UniqueOpts, found *answer,
) error {
	var none TTx
	recorded.seen = nil
	opts := &river.InsertOpts{Queue: queue, UniqueOpts: unique}
	many := []river.InsertManyParams{{Args: args, InsertOpts: opts}}
	if _, err := client.InsertManyTx(context.Background(), none, many); err != nil {
		return err
	}
	if recorded.seen == nil {
		return errors.New("the middleware was not called")
	}
	found.Args = string(recorded.seen.EncodedArgs)
	found.Key = hex.EncodeToString(recorded.seen.UniqueKey)
	found.Mask = recorded.seen.UniqueStates
	return nil
}

func exact(now *clock, args river.JobArgs, one *job, unique river.UniqueOpts, found *answer) {
	internal := dbunique.UniqueOpts(unique)
	key, err := dbunique.UniqueKey(now, &internal, &rivertype.JobInsertParams{
		Args: args, EncodedArgs: []byte(one.Args), Kind: one.Kind, Queue: one.Queue,
	})
	if err != nil {
		found.ExactError = err.Error()
		return
	}
	found.ExactKey = hex.EncodeToString(key)
}

func printPaths() error {
	found := map[string][]string{}
	for name, empty := range types {
		paths, err := structtag.SortedFieldsWithTag(empty(text{}), "unique")
		if err != nil {
			return err
		}
		found[name] = paths
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
