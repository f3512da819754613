package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestAStoreThatWentBackIsBroughtForward: a store that was emptied, or replaced by an older copy, gets everything back that
// was acknowledged: certificates, revocations, accounts, and numbers that are not used again.
func TestAStoreThatWentBackIsBroughtForward(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"emptied", "older", "older, after a kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			witness := filepath.Join(t.TempDir(), "witness")
			answers := w.answers()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			store, copied := filepath.Join(w.data, "store"), filepath.Join(t.TempDir(), "store")

			i := w.start("--witness", witness)
			early := newHistory(w)
			must(t, early.advance(ctx, i, answers))
			i.stop()
			must(t, os.CopyFS(copied, os.DirFS(store)))
			i = w.start("--witness", witness)
			late, kept := newHistory(w), newHistory(w)
			must(t, late.advance(ctx, i, answers))
			must(t, kept.certify(ctx, i, answers))
			if strings.Contains(how, "kill") {
				i.kill()
			} else {
				i.stop()
			}

			must(t, os.RemoveAll(store))
			if how != "emptied" {
				must(t, os.CopyFS(store, os.DirFS(copied)))
			}
			i = w.start("--witness", witness)
			if !strings.Contains(i.log.String(), "store and journal were brought together") {
				t.Error("the log does not say that the store went back")
			}
			if n := len(w.certList()); n != 3 {
				t.Errorf("%d enrollments are listed, want 3", n)
			}
			must(t, late.seeRevoked(ctx))
			must(t, early.seeRevoked(ctx))
			for _, h := range []*history{early, late, kept} {
				c := h.client(i)
				account, err := c.GetReg(ctx, "")
				if err != nil || account.URI != h.account {
					t.Errorf("the account %s is gone: %v", h.account, err)
				}
			}
			// The order went with the store; the certificate is there and its own account revokes it.
			if err := kept.client(i).RevokeCert(ctx, nil, kept.der, acme.CRLReasonSuperseded); err != nil {
				t.Error(err)
			}
			kept.revoked = true
			must(t, kept.seeRevoked(ctx))
			fresh := newHistory(w)
			must(t, fresh.advance(ctx, i, answers))
			i.stop()
			judge(t, w, witness, []*history{early, late, kept, fresh})
		})
	}
}

// certify brings a client to its certificate, and no further.
func (h *history) certify(ctx context.Context, i *instance, answers *testca.HTTP) error {
	c := h.client(i)
	account, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if err != nil {
		return err
	}
	h.account = account.URI
	o, err := c.AuthorizeOrder(ctx, acme.DomainIDs(h.name))
	if err != nil {
		return err
	}
	h.order = o.URI
	return h.obtain(ctx, c, answers)
}

// TestAJournalThatIsNotTheStoresIsRefused: one whose end is missing, and one of another gateway.
func TestAJournalThatIsNotTheStoresIsRefused(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	for _, w := range []*world{w, other} {
		i := w.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		must(t, newHistory(w).advance(ctx, i, w.answers()))
		cancel()
		i.stop()
	}
	journal := filepath.Join(w.data, "journal")
	segments, err := filepath.Glob(filepath.Join(journal, "*.jsonl"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("the journal's files are %v, %v", segments, err)
	}
	whole, err := os.ReadFile(segments[0])
	must(t, err)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	must(t, os.WriteFile(segments[0], bytes.Join(lines[:3], nil), 0o600))
	if _, err := w.tryStart(); err == nil || !strings.Contains(err.Error(), "restore the newest copy of the journal") {
		t.Errorf("a journal without its end: %v", err)
	}
	must(t, os.RemoveAll(journal))
	must(t, os.CopyFS(journal, os.DirFS(filepath.Join(other.data, "journal"))))
	if _, err := w.tryStart(); err == nil || !strings.Contains(err.Error(), "belongs to journal") {
		t.Errorf("another gateway's journal: %v", err)
	}
}
