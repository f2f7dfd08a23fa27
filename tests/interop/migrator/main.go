// Command migrator moves a database between versions of River's "main" line with River's own
// migrator, so that a test can compare the result with riverbridge's.
//
//	DATABASE_URL=postgres://... migrator [-schema NAME] -direction up|down|versions [-target N]
//
// Direction "versions" prints the versions River ships and needs no database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

func run(ctx context.Context) error {
	schema := flag.String("schema", "", "schema; empty leaves it to the search path")
	direction := flag.String("direction", "", "up, down or versions")
	target := flag.Int("target", 0, "version to stop at; down: -1 is everything")
	flag.Parse()

	var pool *pgxpool.Pool
	if *direction != "versions" {
		var err error
		if pool, err = pgxpool.New(ctx, os.Getenv("DATABASE_URL")); err != nil {
			return fmt.Errorf("open pool: %w", err)
		}
		defer pool.Close()
	}

	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Schema: *schema,
	})
	if err != nil {
		return fmt.Errorf("build migrator: %w", err)
	}

	opts := &rivermigrate.MigrateOpts{TargetVersion: *target}
	switch *direction {
	case "versions":
		for _, migration := range migrator.AllVersions() {
			fmt.Printf("%d %s\n", migration.Version, migration.Name)
		}
		return nil
	case "up":
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, opts)
	case "down":
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionDown, opts)
	default:
		return errors.New("-direction must be up, down or versions")
	}
	return err
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
