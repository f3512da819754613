package problem

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestKindNamesAreUniqueAndRoundTrip(t *testing.T) {
	seen := map[string]Kind{}
	for _, k := range Kinds() {
		name := k.String()
		if name == "" {
			t.Errorf("kind %d has no name", k)
		}
		if other, dup := seen[name]; dup {
			t.Errorf("kinds %d and %d share the name %q", other, k, name)
		}
		seen[name] = k
		if got := ParseKind(name); got != k {
			t.Errorf("ParseKind(%q) = %v, want %v", name, got, k)
		}
	}
	if Kind(250).String() != "internal" || ParseKind("no such kind") != Internal {
		t.Error("an unknown kind must read as internal")
	}
}

func TestWrappingKeepsTheKind(t *testing.T) {
	e := Wrap(io.ErrUnexpectedEOF, BadCSR, "the CSR ends early")
	wrapped := fmt.Errorf("finalize: %w", e)
	if got := From(wrapped); got != e {
		t.Errorf("From lost the error: %v", got)
	}
	if !Is(wrapped, BadCSR) || Is(wrapped, Malformed) {
		t.Error("Is must follow the chain and compare kinds")
	}
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Error("the cause must stay reachable for the log")
	}
}

func TestUnknownErrorsShowNothing(t *testing.T) {
	e := From(errors.New("dial 10.0.0.1: password=hunter2"))
	if e.Kind != Internal || e.Detail != "" {
		t.Errorf("an unknown error showed itself: kind %v, detail %q", e.Kind, e.Detail)
	}
	if From(nil) != nil {
		t.Error("From(nil) must be nil")
	}
}

func TestCopiesLeaveTheOriginal(t *testing.T) {
	e := New(Unavailable, "the store does not answer")
	later := e.After(3 * time.Second)
	parts := e.WithParts([]Part{{Kind: CAA}})
	if e.RetryAfter != 0 || e.Parts != nil || later.RetryAfter != 3*time.Second || len(parts.Parts) != 1 {
		t.Error("After and WithParts must copy")
	}
}
