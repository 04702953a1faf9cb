package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/the-eye/eye/client"
)

// journey is one session of the demo: a visitor looks around, and perhaps buys.
type journey struct {
	session string
	visitor string
	shared  bool // all three applications took part
	steps   []step
}

// step is one event of a journey, in the order in which it happened.
type step struct {
	application    string
	category, name string
	data           map[string]any
	at             time.Time
	late           bool   // sent after all others
	spoil          string // how it is bad; "" when it is good
}

var (
	demoPaths    = []string{"/", "/products/42", "/products/7", "/search?q=lamp", "/pricing", "/cart", "/help/returns"}
	demoElements = []string{"chat bubble", "buy now", "newsletter", "size guide", "compare"}
)

// newJourney makes a journey that starts at start.
func newJourney(r *rand.Rand, start time.Time) *journey {
	j := &journey{session: client.NewID(), visitor: fmt.Sprintf("v-%06d", r.IntN(900_000))}
	at := start
	add := func(application, category, name string, data map[string]any) {
		at = at.Add(time.Duration(200+r.IntN(9000)) * time.Millisecond)
		j.steps = append(j.steps, step{
			application: application, category: category, name: name, data: data, at: at,
			late: application == "mobile-app" && r.IntN(3) == 0, // the phone had no network
		})
	}
	front := "web-shop"
	if r.IntN(3) == 0 {
		front = "mobile-app"
	}
	for range 2 + r.IntN(6) {
		path := demoPaths[r.IntN(len(demoPaths))]
		add(front, "page", "view", map[string]any{"host": "www.example.com", "path": path, "visitor": j.visitor,
			"viewport": map[string]int{"width": 360 + 120*r.IntN(10), "height": 640 + 80*r.IntN(6)}})
		if r.IntN(2) == 0 {
			add(front, "page interaction", "cta click", map[string]any{"host": "www.example.com", "path": path,
				"element": demoElements[r.IntN(len(demoElements))], "visitor": j.visitor})
		}
	}
	if r.IntN(3) > 0 {
		amount := json.RawMessage(fmt.Sprintf("%d.%02d", 5+r.IntN(300), r.IntN(100)))
		order := fmt.Sprintf("o-%06d", r.IntN(900_000))
		add("checkout", "order", "created", map[string]any{"order": order, "amount": amount, "currency": "EUR", "items": 1 + r.IntN(4)})
		if r.IntN(8) == 0 {
			add("checkout", "payment", "failed", map[string]any{"order": order, "reason": "card declined"})
		} else {
			add("checkout", "payment", "authorised", map[string]any{"order": order, "amount": amount, "method": "card"})
			add(front, "page", "view", map[string]any{"host": "www.example.com", "path": "/thank-you", "visitor": j.visitor})
			if front == "web-shop" {
				add("mobile-app", "push", "opened", map[string]any{"order": order, "visitor": j.visitor})
				j.shared = true
			}
		}
	}
	if r.IntN(4) == 0 {
		j.steps[r.IntN(len(j.steps))].spoil = []string{"no data", "future", "unknown field", "data is text"}[r.IntN(4)]
	}
	return j
}

// json is the step as its application sends it.
func (s *step) json(j *journey) json.RawMessage {
	e := map[string]any{
		"id": client.NewID(), "session_id": j.session, "category": s.category, "name": s.name,
		"data": s.data, "timestamp": s.at.UTC().Format("2006-01-02T15:04:05.000000Z"),
	}
	switch s.spoil {
	case "no data":
		delete(e, "data")
	case "future": // a clock that is a day ahead
		e["timestamp"] = s.at.UTC().Add(24 * time.Hour).Format(time.RFC3339)
	case "unknown field":
		e["user"] = j.visitor
	case "data is text":
		e["data"] = "clicked"
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic("eye: the demo's events are plain values: " + err.Error())
	}
	return text
}
