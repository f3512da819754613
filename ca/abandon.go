package ca

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Abandon closes one open intent: no certificate will be recorded for it, a signature that comes later is refused, and
// the serial is on the CRL until its notAfter. Conflict if it is no longer open, NotFound if there is none. The journal's
// entry follows the store's commit, so that the journal never says of an issued certificate that it was abandoned; if
// only the entry fails, the error is Unavailable and the intent is closed all the same.
func (a *Authority) Abandon(ctx context.Context, issuer string, serial Serial) error {
	c, err := a.store.Certificate(ctx, issuer, serial)
	if err != nil {
		return err
	}
	return a.abandon(ctx, c.Intent)
}

func (a *Authority) abandon(ctx context.Context, in Intent) error {
	if err := a.store.AbandonIntent(ctx, in.Issuer, in.Serial, a.second()); err != nil {
		return err
	}
	return a.journalAbandoned(ctx, in)
}

func (a *Authority) journalAbandoned(ctx context.Context, in Intent) error {
	e := eventFor(audit.Abandoned, in)
	// The fields that this kind fills. With the hash a replay that has nothing else makes a record that fits the signature.
	e.Names, e.NotAfter, e.Hash = nil, in.NotAfter, in.TBSHash[:]
	return a.append(ctx, e)
}

// giveUp abandons the intent of an issuance that failed. What store and journal do not let it do now, Settle does later, or
// the next replay of the journal. signing says that the back end has been asked for a signature, whatever it answered. ctx is
// free of the caller's cancellation but may be past its deadline, which is why the time here is counted anew.
func (a *Authority) giveUp(ctx context.Context, in Intent, during string, signing bool) {
	ctx, cancel := a.recording(context.WithoutCancel(ctx))
	defer cancel()
	err := a.abandon(ctx, in)
	switch {
	case err == nil:
		return
	case problem.Is(err, problem.NotFound):
		err = a.closeUnrecorded(ctx, in, signing)
	case !signing && !problem.Is(err, problem.Conflict):
		// Nothing was signed and nothing will be, whatever the store has: an intent that it did take is for the sweep.
		err = a.journalAbandoned(context.WithoutCancel(ctx), in)
	}
	if problem.Is(err, problem.Conflict) {
		err = a.settle(ctx, in)
	}
	if err != nil {
		a.unsettled.add(in, signing)
		a.log.Error("an intent could not be abandoned yet", "during", during, "issuer", in.Issuer,
			"serial", in.Serial, "enrollment", in.Enrollment, "error", err)
	}
}

// closeUnrecorded abandons an intent of which the store has no record. Before signing began it was never recorded, and only
// the journal may have announced it. After that the store had acknowledged it: it went back and lost it, and the serial must
// be on the CRL all the same. The journal is told even if the store fails, because a replay then tells the store. Conflict
// if there is a record by now.
func (a *Authority) closeUnrecorded(ctx context.Context, in Intent, signing bool) error {
	var stored error
	if signing {
		a.log.Warn("the store has lost an intent that it had acknowledged; the serial is closed", "issuer", in.Issuer,
			"serial", in.Serial, "enrollment", in.Enrollment)
		if stored = a.store.RecordAbandoned(ctx, in, a.second()); problem.Is(stored, problem.Conflict) {
			return stored
		}
	}
	ctx, cancel := a.recording(context.WithoutCancel(ctx)) // the store may have used up the time
	defer cancel()
	return errors.Join(stored, a.journalAbandoned(ctx, in))
}

// settle looks at an intent that is no longer open. If it was abandoned (by a sweep, or by a commit whose answer was
// lost), the journal says so once more, behind whatever this issuance has written. If it was issued after all, it is on
// record and revocable, and stays.
func (a *Authority) settle(ctx context.Context, in Intent) error {
	c, err := a.store.Certificate(ctx, in.Issuer, in.Serial)
	if err != nil {
		return err
	}
	switch c.State {
	case Abandoned:
		return a.journalAbandoned(ctx, in)
	case Issued:
		a.log.Warn("a certificate was recorded although the store's answer said otherwise",
			"issuer", in.Issuer, "serial", in.Serial, "enrollment", in.Enrollment)
		return nil
	default:
		return fmt.Errorf("the store says both that intent %s/%s is open and that it is not", in.Issuer, in.Serial)
	}
}

// closeEntry gives the journal's "will sign" of an intent that the store refused its end.
func (a *Authority) closeEntry(ctx context.Context, in Intent) {
	ctx, cancel := a.recording(context.WithoutCancel(ctx))
	defer cancel()
	if err := a.journalAbandoned(ctx, in); err != nil {
		a.unsettled.add(in, false)
		a.log.Error("an intent that was not recorded has no end in the journal yet", "issuer", in.Issuer, "serial", in.Serial, "error", err)
	}
}
