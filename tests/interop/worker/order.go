package main

import (
	"crypto/md5"
	"fmt"
)

// orderArgs are 260 bytes as Postgres writes them, nine keys: what an order may look like.
type orderArgs struct {
	OrderID    int    `json:"order_id"`
	CustomerID string `json:"customer_id"`
	Event      string `json:"event"`
	Currency   string `json:"currency"`
	Total      int    `json:"total"`
	Status     string `json:"status"`
	Items      []int  `json:"items"`
	PlacedAt   string `json:"placed_at"`
	Note       string `json:"note"`
}

func (orderArgs) Kind() string { return "order.placed" }

// order is the same as riverbridge.bench.order makes of the same number.
func order(number int) orderArgs {
	sum := md5.Sum(fmt.Append(nil, number))
	return orderArgs{
		OrderID:    10_000_000 + number,
		CustomerID: fmt.Sprintf("c%06d", number*7919%10007),
		Event:      fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:]),
		Currency:   "EUR",
		Total:      10_000 + number%90_000,
		Status:     "placed",
		Items:      []int{10_000 + number%89_999, 10_000 + number*31%89_999},
		PlacedAt:   "2026-01-02T03:04:05.678901Z",
		Note:       "Leave it with neighbor: 6th",
	}
}
