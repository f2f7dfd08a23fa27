package main

import (
	"encoding/json"
	"time"

	"github.com/riverqueue/river"
)

// text is args whose JSON is given. Types that embed it have tags of their own; being unexported, it
// adds none to them.
type text struct {
	kind string
	json string
}

func (t text) Kind() string                 { return t.kind }
func (t text) MarshalJSON() ([]byte, error) { return []byte(t.json), nil }

type one struct {
	text
	A any `json:"a" river:"unique"`
}

type several struct {
	text
	Z  any `json:"z,omitempty" river:"unique"`
	A  any `json:"a" river:"unique"`
	BC any `json:"b-c" river:"other, unique"`
	E  any `json:"é<" river:"unique"`
	C  any `json:"c"`
}

type inner struct {
	X any   `json:"x" river:"unique"`
	Y *leaf `json:"y"`
}

type leaf struct {
	D any `json:"d" river:"unique"`
	E any `json:"e"`
}

type plain struct {
	X any `json:"x"`
}

type nested struct {
	text
	BC any    `json:"b-c" river:"unique"`
	B  *inner `json:"b" river:"unique"`
	C  *leaf  `json:"c" river:"unique"`
}

type whole struct {
	text
	B plain   `json:"b" river:"unique"`
	A []inner `json:"a" river:"unique"`
	C []inner `json:"c"`
}

type twice struct {
	text
	A leaf `json:"a"`
	B leaf `json:"b"`
	C leaf `json:"c" river:"unique"`
}

type tree struct {
	text
	A any   `json:"a" river:"unique"`
	B *tree `json:"b" river:"unique"`
	C *tree `json:"c"`
}

type item struct {
	SKU   string `json:"sku" river:"unique"`
	Count int64  `json:"count"`
}

type order struct {
	ID       int64              `json:"id"`
	Amount   float64            `json:"amount"`
	Note     string             `json:"note"`
	ByName   map[string]float64 `json:"by_name"`
	ByNumber map[int64]string   `json:"by_number"`
	At       time.Time          `json:"at"`
	Item     plainItem          `json:"item"`
	Maybe    *plainItem         `json:"maybe"`
	Rates    []float64          `json:"rates"`
	Data     []byte             `json:"data"`
	Any      any                `json:"any"`
}

type plainItem struct {
	SKU   string `json:"sku"`
	Count int64  `json:"count"`
}

func (order) Kind() string { return "order" }

type marked struct {
	Zone   string             `json:"zone" river:"unique"`
	Amount float64            `json:"amount" river:"unique"`
	Note   string             `json:"note"`
	ByName map[string]float64 `json:"by_name" river:"unique"`
	At     time.Time          `json:"at" river:"unique"`
	Item   item               `json:"item"`
	Maybe  *plainItem         `json:"maybe" river:"unique"`
}

func (marked) Kind() string { return "marked" }

var types = map[string]func(text) river.JobArgs{
	"text":    func(t text) river.JobArgs { return t },
	"one":     func(t text) river.JobArgs { return one{text: t} },
	"several": func(t text) river.JobArgs { return &several{text: t} },
	"nested":  func(t text) river.JobArgs { return nested{text: t} },
	"whole":   func(t text) river.JobArgs { return whole{text: t} },
	"twice":   func(t text) river.JobArgs { return twice{text: t} },
	"tree":    func(t text) river.JobArgs { return tree{text: t} },
	"order":   func(text) river.JobArgs { return order{} },
	"marked":  func(text) river.JobArgs { return marked{} },
}

func argsOf(given *job) (river.JobArgs, error) {
	switch given.Type {
	case "order":
		var args order
		err := json.Unmarshal([]byte(given.Args), &args)
		return args, err
	case "marked":
		var args marked
		err := json.Unmarshal([]byte(given.Args), &args)
		return args, err
	}
	return types[given.Type](text{given.Kind, given.Args}), nil
}
