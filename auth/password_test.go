package auth_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// TestChangedPassword: the old one counts no more, although it was verified just now.
func TestChangedPassword(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	enter := func(password string) (auth.Caller, error) {
		return d.a.Password(t.Context(), "ada", "", password, home)
	}
	if _, err := enter(secretWord); err != nil {
		t.Fatal(err)
	}
	_, err := d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
	must(t, err)
	c, err := enter(secretWord)
	isRefused(t, "the old one", c, err)
	if _, err := enter("another horse battery"); err != nil {
		t.Error(err)
	}
	_, err = d.x.RemovePassword(t.Context(), operator, ref)
	must(t, err)
	c, err = enter("another horse battery")
	isRefused(t, "one that was taken away", c, err)
}

// meddler does something before the second time that a principal is read.
type meddler struct {
	auth.Store
	reads int
	do    func()
}

func (m *meddler) Principal(ctx context.Context, id auth.PrincipalID) (*auth.Principal, error) {
	if m.reads++; m.reads == 2 {
		m.do()
	}
	return m.Store.Principal(ctx, id)
}

// TestChangedWhileHashing: what ends a principal while its password is verified is not too late.
func TestChangedWhileHashing(t *testing.T) {
	for name, end := range map[string]func(d *doorway, ref auth.Ref) error{
		"another password": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
			return err
		},
		"no password": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.RemovePassword(t.Context(), operator, ref)
			return err
		},
		"disabled": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(true)})
			return err
		},
	} {
		d := newDoorway(t, auth.Lockout{})
		ref := d.ada()
		meddling := *d.x
		meddling.Store = &meddler{Store: d.db, do: func() { must(t, end(d, ref)) }}
		a, err := auth.NewAuthenticator(t.Context(), auth.AuthenticatorConfig{Principals: &meddling})
		must(t, err)
		c, err := a.Password(t.Context(), "ada", "main", secretWord, home)
		isRefused(t, name, c, err)
	}
}

// TestRehash: after the parameters have changed, the next who logs in leaves a hash with the new ones.
func TestRehash(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	before, err := d.db.Principal(t.Context(), ref.ID)
	must(t, err)
	x, err := auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: d.directory, Store: d.db, Sealer: d.sealer, Journal: d.journal, Argon2: auth.Argon2{Memory: 128, Passes: 2, Threads: 1}, Now: func() time.Time { return d.now },
	})
	must(t, err)
	d.x = x
	d.a = d.authenticator(auth.Lockout{})
	for _, password := range []string{"wrong horse battery", secretWord, secretWord} {
		d.a.Password(t.Context(), "ada", "", password, home)
		now, err := d.db.Principal(t.Context(), ref.ID)
		must(t, err)
		if changed := !bytes.Equal(now.Password.Sealed, before.Password.Sealed); changed != (password == secretWord) {
			t.Errorf("after %q the hash changed: %t", password, changed)
		}
		if !now.Password.Changed.Equal(before.Password.Changed) || now.Edits > before.Edits+1 {
			t.Errorf("it is %+v", now)
		}
	}
	if back, err := d.replayed().Principal(t.Context(), ref.ID); err != nil || back.Edits != before.Edits+1 {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
}
