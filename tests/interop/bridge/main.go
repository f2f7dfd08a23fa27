// Command bridge is River's side of riverbridge's interoperation tests: River's own client inserts,
// works, reads, cancels and pauses on the tables that riverbridge delivers from.
//
//	bridge work    DSN SCHEMA CLIENT QUEUE COUNT  work COUNT jobs, each once, as its args say
//	bridge halt    DSN SCHEMA CLIENT QUEUE COUNT HOW  as work, but end COUNT that run: HOW is
//	                                              cancel (JobCancel) or stop (StopAndCancel; build
//	                                              with v0.44.mod, before which a stop is an error)
//	bridge fetch   DSN SCHEMA CLIENT QUEUE COUNT  fetch up to COUNT jobs, and leave them running
//	bridge discard DSN SCHEMA CLIENT QUEUE TEXT   fetch, then set all to discarded with TEXT
//	bridge read    DSN SCHEMA                     every job, as the client decodes it
//	bridge insert  DSN SCHEMA QUEUE COUNT         jobs of mixed priority, schedule and uniqueness
//	bridge add     DSN SCHEMA QUEUE KIND AHEAD    one job, AHEAD seconds ahead
//	bridge flood   DSN SCHEMA QUEUE RATE SECONDS  jobs at RATE a second, each with its time
//	bridge unique  DSN SCHEMA QUEUE KEY           insert a unique job, timed
//	bridge cancel  DSN SCHEMA ID                  JobCancel, timed
//	bridge pause   DSN SCHEMA QUEUE               QueuePause
//	bridge resume  DSN SCHEMA QUEUE               QueueResume
//	bridge administer DSN SCHEMA JSON             lists and operations, as administer.go has them
//	bridge serve   DSN SCHEMA CLIENT QUEUE        work a queue, stand for election, until stdin ends
//	bridge soak    DSN SCHEMA CLIENT JOURNAL QUEUES RESCUE  the same as soak.go has it, until SIGTERM
//	bridge sow     DSN SCHEMA FILE                insert the jobs of a file
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

type side struct {
	pool   *pgxpool.Pool
	schema string
	args   []string
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, dsn, schema string, args []string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	commands := map[string]func(*side, context.Context) error{
		"work": (*side).work, "halt": (*side).halt, "fetch": (*side).fetch, "discard": (*side).discard, "read": (*side).read,
		"insert": (*side).insert, "add": (*side).add, "flood": (*side).flood,
		"unique": (*side).unique, "cancel": (*side).cancel,
		"pause": (*side).pause, "resume": (*side).resume, "serve": (*side).serve,
		"administer": (*side).administer, "soak": (*side).soak, "sow": (*side).sow,
	}
	chosen, ok := commands[command]
	if !ok {
		return fmt.Errorf("unknown command %q", command)
	}
	return chosen(&side{pool: pool, schema: schema, args: args}, ctx)
}

// client makes a client that inserts, or works if config names queues and workers.
func (s *side) client(config river.Config) (*river.Client[pgx.Tx], error) {
	config.Schema = s.schema
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return river.NewClient(riverpgxv5.New(s.pool), &config)
}

func (s *side) number(place int) (int, error) { return strconv.Atoi(s.args[place]) }

func print(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }

// timed prints what call returns, and the seconds it took.
func timed(call func() (map[string]any, error)) error {
	began := time.Now()
	result, err := call()
	if err != nil {
		return err
	}
	result["seconds"] = time.Since(began).Seconds()
	return print(result)
}
