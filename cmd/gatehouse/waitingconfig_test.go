package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func waitingOf(t *testing.T, words string, log io.Writer) (waitingBounds, error) {
	t.Helper()
	c, err := parseConfig("gatehouse.yaml", []byte(goodConfig+words))
	if err != nil {
		return waitingBounds{}, err
	}
	return c.waitingBounds(newLogger(streams{io.Discard, log}, true, 0))
}

func TestWaitingConfig(t *testing.T) {
	t.Parallel()
	main, other := auth.Org{Slug: "main"}, auth.Org{Slug: "later"}
	b, err := waitingOf(t, "", io.Discard)
	if err != nil || b.of(main) != (ra.WaitingBounds{PerRequester: 100, PerOrganisation: 1000}) {
		t.Errorf("without a word: %+v, %v", b.of(main), err)
	}
	var log bytes.Buffer
	b, err = waitingOf(t, `waiting_requests:
  per_requester: 7
  organisations:
    main: {per_requester: off, per_organisation: 9}
    later: {per_organisation: off}
    small: {per_organisation: 3}
`, &log)
	if err != nil {
		t.Fatal(err)
	}
	for org, want := range map[string]ra.WaitingBounds{
		"main": {PerOrganisation: 9}, "later": {PerRequester: 7}, "small": {PerRequester: 3, PerOrganisation: 3}, "another": {PerRequester: 7, PerOrganisation: 1000},
	} {
		if got := b.of(auth.Org{Slug: org}); got != want {
			t.Errorf("%s: %+v, want %+v", org, got, want)
		}
	}
	if said := log.String(); !strings.Contains(said, other.Slug) || strings.Contains(said, `"slug":"main"`) {
		t.Errorf("the log says %s", said)
	}
	for words, says := range map[string]string{
		"waiting_requests: {per_requester: 0}":                                                 "from 1 to 1000000, or off",
		"waiting_requests: {per_organisation: -1}":                                             "from 1 to 1000000, or off",
		"waiting_requests: {per_organisation: many}":                                           "from 1 to 1000000, or off",
		"waiting_requests: {per_organisation: 1000001}":                                        "from 1 to 1000000, or off",
		"waiting_requests: {per_requester: 1001}":                                              "lower the one or raise the other",
		"waiting_requests: {organisations: {main: {per_requester: 99, per_organisation: 98}}}": "per_requester is 99",
		"waiting_requests: {per_account: 3}":                                                   "per_account",
		"waiting_requests: {organisations: {main: {organisations: {}}}}":                       "organisations",
		"waiting_requests: {per_requester: 5, organisations: {main: {a: 1}}}":                  "not known here",
	} {
		if _, err := waitingOf(t, words+"\n", io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", words, err, says)
		}
	}
}
