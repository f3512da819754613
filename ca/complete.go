package ca

import (
	"context"
	"iter"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// CompleteJournal gives every "will sign" of this authority's issuers that a crash left without an end in the journal the
// end that the store knows: signed, or abandoned. A "signed" that the store took for too late gets its "abandoned". Intents
// that are still open are left to the sweep. It returns how many entries it added.
//
// entries is the journal, or as much of its end as may hold such entries ([audit.After]). Nothing may be issued meanwhile:
// call it at the start, after the store was brought up to date and before anything is served.
func (a *Authority) CompleteJournal(ctx context.Context, entries iter.Seq2[audit.Entry, error]) (added int, err error) {
	last := map[string]audit.Event{} // the last word about each serial, unless it is final
	var order []string
	for e, err := range entries {
		if err != nil {
			return 0, err
		}
		key := e.Event.Issuer + "/" + e.Event.Serial
		switch e.Event.Kind {
		case audit.WillSign:
			last[key] = e.Event
			order = append(order, key)
		case audit.Signed:
			word := e.Event
			word.DER, word.Names = nil, nil // not used below, and a long journal has many
			last[key] = word
		case audit.Abandoned:
			delete(last, key)
		}
	}
	for _, key := range order {
		word, ok := last[key]
		if _, ours := a.issuers[word.Issuer]; !ok || !ours {
			continue
		}
		done, err := a.completeEntry(ctx, word)
		if err != nil {
			return added, err
		}
		if done {
			added++
		}
	}
	return added, nil
}

// completeEntry journals the end of one intent, unless it is open or the journal's last word is it.
func (a *Authority) completeEntry(ctx context.Context, word audit.Event) (bool, error) {
	c, err := a.store.Certificate(ctx, word.Issuer, Serial(word.Serial))
	end := word
	end.DER = nil
	if err == nil {
		end.Hash, end.NotAfter = c.TBSHash[:], c.NotAfter
	}
	switch {
	case problem.Is(err, problem.NotFound) && word.Kind == audit.WillSign, err == nil && c.State == Abandoned:
		// Without a record the process died before the intent's commit, or the store lost it meanwhile; the entry is what puts
		// the serial on the CRL at the next replay.
		end.Kind, end.Names, end.Door, end.Profile, end.ProfileHash = audit.Abandoned, nil, "", "", ""
		end.Content, end.Approvers = "", nil
	case err != nil:
		return false, err
	case c.State == Issued && word.Kind == audit.WillSign:
		end = eventFor(audit.Signed, c.Intent)
		end.DER, end.Names = c.DER, word.Names
		end.Content, end.Approvers = word.Content, word.Approvers
	default:
		return false, nil
	}
	return true, a.append(ctx, end)
}
