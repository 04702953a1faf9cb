package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/the-eye/eye/client"
	"github.com/the-eye/eye/client/clienttest"
)

// A program makes one Client and one Sender, and closes the Sender at its end.
func Example() {
	server := httptest.NewServer(clienttest.New()) // stands for The Eye
	defer server.Close()

	c, err := client.New(server.URL, client.Options{Key: clienttest.OperatorKey})
	if err != nil {
		slog.Error("no client", "err", err)
		os.Exit(1)
	}
	defer c.CloseIdleConnections()
	sender := c.NewSender(client.SenderOptions{
		OnRefused: func(e client.Event, receipt string, why []client.Violation) {
			fmt.Println("refused:", e.Name, why[0])
		},
		OnDropped: func(e client.Event, err error) {
			slog.Error("event lost", "id", e.ID, "err", err)
		},
	})

	ctx := context.Background()
	err = sender.Send(ctx, client.Event{
		SessionID: "e2085be5-9137-4e4e-80b5-f1ffddc25423",
		Category:  "page interaction",
		Name:      "cta click",
		Data:      map[string]any{"host": "www.example.com", "path": "/", "element": "chat bubble"},
		Timestamp: time.Date(2021, 1, 1, 9, 15, 27, 243860000, time.UTC),
	})
	if err != nil {
		slog.Error("not sent", "err", err)
	}
	sender.Send(ctx, client.Event{SessionID: "e2085be5", Category: "page interaction", Name: "no object", Data: 7})

	ending, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := sender.Close(ending); err != nil {
		slog.Error("events lost", "err", err)
	}
	fmt.Printf("%+v\n", sender.Stats())
	// Output:
	// refused: no object /data: type: data must be an object
	// {Queued:0 Accepted:1 Refused:1 Dropped:{QueueFull:0 Invalid:0 Denied:0 GaveUp:0 Closed:0} Retried:0}
}

// local is a Client of a server inside of this process.
func local() *client.Client {
	c, err := client.New("http://eye.test", client.Options{
		Key:        clienttest.OperatorKey,
		HTTPClient: &http.Client{Transport: clienttest.New().Transport()},
	})
	if err != nil {
		panic(err)
	}
	return c
}

func ExampleClient_SendNow() {
	c := local()
	event := client.Event{ID: "order-17", SessionID: "s1", Category: "shop", Name: "order", Data: map[string]any{"total": 12.5}}
	for range 2 {
		result, err := c.SendAndWait(context.Background(), 5*time.Second, event)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, o := range result.Outcomes {
			fmt.Println(o.ID, o.Status)
		}
	}
	// Output:
	// order-17 stored
	// order-17 duplicate
}

func ExampleClient_SessionEvents() {
	c := local()
	ctx := context.Background()
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	// Sent in the wrong order, read in the right one.
	for i, name := range []string{"paid", "opened", "chosen"} {
		at := start.Add([]time.Duration{2, 0, 1}[i] * time.Minute)
		if _, err := c.SendNow(ctx, client.Event{SessionID: "s1", Category: "shop", Name: name, Timestamp: at}); err != nil {
			fmt.Println(err)
		}
	}
	for e, err := range c.SessionEvents(ctx, "s1") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Position, e.Timestamp.Format(time.TimeOnly), e.Name)
	}
	// Output:
	// 1 12:00:00 opened
	// 2 12:01:00 chosen
	// 3 12:02:00 paid
}

func ExampleProblem() {
	_, err := local().Event(context.Background(), "shop", "nothing")
	var problem *client.Problem
	if errors.As(err, &problem) {
		fmt.Println(problem.Status, problem.Detail)
	}
	// Output: 404 There is no such event.
}
