package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// clockEngine is an engine of which only the clock is asked.
type clockEngine struct {
	storage.Engine
	ahead, trip time.Duration
	err         error
}

func (e *clockEngine) Now(context.Context) (time.Time, error) {
	time.Sleep(e.trip / 2)
	now := time.Now().Add(e.ahead)
	time.Sleep(e.trip / 2)
	return now, e.err
}

func TestStoreClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &clockEngine{ahead: time.Second, trip: 100 * time.Millisecond}
		c := newStoreClock(e, true, slog.New(slog.NewTextHandler(&log, nil)))
		must(t, c.measure(t.Context()))
		if got := time.Until(c.Now()); got != time.Second || c.healthy() != nil || log.Len() > 0 {
			t.Errorf("a second ahead: read as %v, %v, logged %q", got, c.healthy(), log.String())
		}
		e.ahead = -3 * time.Second
		must(t, c.measure(t.Context()))
		must(t, c.measure(t.Context()))
		if c.healthy() != nil || strings.Count(log.String(), "are apart") != 1 {
			t.Errorf("three seconds behind: %v, logged %q; want one alarm", c.healthy(), log.String())
		}
		e.ahead = 31 * time.Second
		must(t, c.measure(t.Context()))
		if err := c.healthy(); !problem.Is(err, problem.Unavailable) {
			t.Errorf("31 seconds ahead: %v; want that nothing is issued", err)
		}
		e.ahead = 0
		must(t, c.measure(t.Context()))
		if c.healthy() != nil || !strings.Contains(log.String(), "agree again") {
			t.Errorf("set right: %v, logged %q", c.healthy(), log.String())
		}
		e.trip = 3 * time.Second
		if err := c.measure(t.Context()); err == nil {
			t.Error("an answer that took three seconds was believed")
		}
		e.trip, e.err, e.ahead = 0, errors.New("gone"), time.Hour
		if err := c.measure(t.Context()); err == nil || c.healthy() != nil {
			t.Errorf("no answer: %v, %v; want the offset that was known", err, c.healthy())
		}
	})
}
