package ca

import (
	"context"
	"iter"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// CompleteJournal gives every "will sign" of this authority's issuers that a crash left without an end in the journal the
// end that the store knows: signed, or abandoned. Intents that are still open are left to the sweep. It returns how many
// entries it added.
//
// entries is the journal, or as much of its end as may hold such entries ([audit.All]). Nothing may be issued meanwhile:
// call it at the start, after the store was brought up to date and before anything is served.
func (a *Authority) CompleteJournal(ctx context.Context, entries iter.Seq2[audit.Entry, error]) (added int, err error) {
	endless := map[string]audit.Event{}
	var order []string
	for e, err := range entries {
		if err != nil {
			return 0, err
		}
		key := e.Event.Issuer + "/" + e.Event.Serial
		switch e.Event.Kind {
		case audit.WillSign:
			endless[key] = e.Event
			order = append(order, key)
		case audit.Signed, audit.Abandoned:
			delete(endless, key)
		}
	}
	for _, key := range order {
		begun, ok := endless[key]
		if _, ours := a.issuers[begun.Issuer]; !ok || !ours {
			continue
		}
		done, err := a.completeEntry(ctx, begun)
		if err != nil {
			return added, err
		}
		if done {
			added++
		}
	}
	return added, nil
}

// completeEntry journals the end of one intent, unless it is open.
func (a *Authority) completeEntry(ctx context.Context, begun audit.Event) (bool, error) {
	c, err := a.store.Certificate(ctx, begun.Issuer, Serial(begun.Serial))
	end := begun
	end.Hash = nil
	switch {
	case problem.Is(err, problem.NotFound), err == nil && c.State == Abandoned:
		// Without a record nothing was signed: the process died before the intent's commit.
		end.Kind, end.Names = audit.Abandoned, nil
	case err != nil:
		return false, err
	case c.State == Issued:
		end = eventFor(audit.Signed, c.Intent)
		end.DER = c.DER
	default:
		return false, nil
	}
	return true, a.append(ctx, end)
}
