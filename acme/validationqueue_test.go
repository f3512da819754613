package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestSlowNamesLeaveRoomForOthers: an account whose names are answered slowly does not keep anybody else's from being
// validated at once.
func TestSlowNamesLeaveRoomForOthers(t *testing.T) { synctest.Test(t, testSlowNamesLeaveRoomForOthers) }

// slowNames keeps names of one domain waiting as long as it is let.
type slowNames struct {
	Validator
	domain string
}

func (v slowNames) Check(ctx context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	if strings.HasSuffix(req.Identifier.Value(), v.domain) {
		<-ctx.Done()
		return nil, nil, problem.Wrap(ctx.Err(), problem.Unavailable, "no slot became free")
	}
	return v.Validator.Check(ctx, req)
}

func testSlowNamesLeaveRoomForOthers(t *testing.T) {
	const limit, share = 20, 16
	w := newWorld(t, slow, func(c *Config) {
		c.Validations, c.Validator = limit, slowNames{c.Validator, ".example.net"}
	})
	hostile, healthy := w.account(), w.account()
	var names []string
	for i := range 2 * limit {
		names = append(names, fmt.Sprintf("n%d.example.net", i))
	}
	for _, authz := range hostile.newOrder(names...).Authorizations {
		if got := hostile.to(hostile.challengeOf(authz), map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "processing" {
			t.Error(got)
		}
	}
	if n := len(w.server.validations.running); n != share {
		t.Errorf("%d validations of one account", n)
	}
	o := healthy.newOrder("a.example.com", "b.example.com")
	for _, authz := range o.Authorizations {
		healthy.to(healthy.challengeOf(authz), map[string]any{}).want(t, http.StatusOK)
	}
	synctest.Wait()
	if got := healthy.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
		t.Error("the others' order is", got.Status)
	}
	time.Sleep(2 * validationTime)
	synctest.Wait()
	if vs := &w.server.validations; len(vs.running) != 0 || len(vs.of) != 0 {
		t.Errorf("%d are running, counted %v", len(vs.running), vs.of)
	}
}

func TestFullQueueIsLeftToTheSweep(t *testing.T) { synctest.Test(t, testFullQueueIsLeftToTheSweep) }

func testFullQueueIsLeftToTheSweep(t *testing.T) {
	w := newWorld(t, slow, func(c *Config) { c.Validations = 1 })
	c := w.account()
	o := c.newOrder("a.example.com", "b.example.com")
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	for _, authz := range o.Authorizations {
		if got := c.to(c.challengeOf(authz), map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "processing" {
			t.Error(got)
		}
	}
	if n := len(w.validator.seen()); n > 1 {
		t.Errorf("%d validations at once", n)
	}
	close(gate)
	w.settled()
	w.clock.advance(sweepInterval)
	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
		t.Error(got.Status)
	}
}

// TestKeptRecordsAreBounded: the store's size does not follow what a hostile server sends.
func TestKeptRecordsAreBounded(t *testing.T) {
	if got := encodeRecord(nil); got != nil {
		t.Errorf("%s", got)
	}
	small := &dcv.Record{Advice: "look", Hops: []dcv.Hop{{URL: "http://a.example.com"}}}
	if got := encodeRecord(small); !bytes.Contains(got, []byte("http://a.example.com")) || bytes.Contains(got, []byte("Omitted")) {
		t.Errorf("%s", got)
	}
	lookup := dcv.Lookup{Name: "a.example.com", Aliases: slices.Repeat([]string{strings.Repeat("x", 1000)}, 10)}
	hop := dcv.Hop{URL: "http://a.example.com", Lookups: []dcv.Lookup{lookup, lookup}}
	large := &dcv.Record{Advice: "look", Hops: slices.Repeat([]dcv.Hop{hop}, 11)}
	got := encodeRecord(large)
	var back dcv.Record
	if err := json.Unmarshal(got, &back); err != nil || len(got) > maxRecord || back.Omitted == 0 || len(back.Hops) < 2 || back.Advice != "look" {
		t.Errorf("%d bytes, %+v, %v", len(got), back, err)
	}
}
