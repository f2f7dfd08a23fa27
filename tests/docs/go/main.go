package main

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

type OrderPlaced struct {
	OrderID  int    `json:"order_id"`
	Customer string `json:"customer"`
}

func (OrderPlaced) Kind() string { return "order.placed" }

func main() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{}) // it only inserts
	if err != nil {
		log.Fatal(err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback(ctx)
	// Your own statements go here, in the same transaction.
	_, err = client.InsertTx(ctx, tx, OrderPlaced{OrderID: 42, Customer: "ann"},
		&river.InsertOpts{Queue: "outbox"})
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		log.Fatal(err)
	}
}
