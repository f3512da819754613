//go:build cgo && !nopkcs11

package ca

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/pkcs11"
	"go.step.sm/crypto/kms/apiv1"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// hsm plays a module with one token. Its sessions are those of the last login.
type hsm struct {
	mu       sync.Mutex
	keys     map[string]crypto.Signer // by URI
	session  int                      // alive; zero: none
	logins   int
	closed   int
	loginErr error
	hang     chan struct{} // signatures wait for it; nil: they do not
}

type hsmSession struct {
	h  *hsm
	id int
}

type hsmKey struct {
	hsmSession
	crypto.Signer
}

func (h *hsm) connect() (keyModule, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logins++
	if h.loginErr != nil {
		return nil, h.loginErr
	}
	h.session = h.logins
	return hsmSession{h, h.session}, nil
}

// set changes what the token is, at once.
func (h *hsm) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (s hsmSession) dead() bool { return s.id != s.h.session }

func (s hsmSession) CreateSigner(req *apiv1.CreateSignerRequest) (crypto.Signer, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.dead() {
		return nil, fmt.Errorf("finding: %w", pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID))
	}
	k := s.h.keys[req.SigningKey]
	if k == nil {
		return nil, fmt.Errorf("key with uri %s not found", req.SigningKey)
	}
	return hsmKey{s, k}, nil
}

func (s hsmSession) Close() error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.closed++
	return nil
}

func (k hsmKey) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.h.mu.Lock()
	hang, dead := k.h.hang, k.dead()
	k.h.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if dead {
		return nil, fmt.Errorf("signing: %w", pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID))
	}
	return k.Signer.Sign(r, digest, opts)
}

// openToken opens the token of h with the keys named.
func openToken(t *testing.T, h *hsm, names ...string) (*token, []*tokenKey) {
	t.Helper()
	tok := &token{name: `token token="t"`, connect: h.connect, alone: func() bool { return true }}
	if err := tok.open(); err != nil {
		t.Fatal(err)
	}
	var keys []*tokenKey
	for _, name := range names {
		k, err := tok.find(name, name)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return tok, keys
}

func newHSM(t *testing.T) *hsm {
	return &hsm{keys: map[string]crypto.Signer{"a": newKey(t, "p256"), "b": newKey(t, "rsa2048")}}
}

func try(k *tokenKey) error {
	digest := sha256.Sum256([]byte("message"))
	_, err := k.Sign(nil, digest[:], crypto.SHA256)
	return err
}

func saysError(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want it to say %q", err, says)
	}
}

// A token that was restarted serves again by itself: the first signature fails, later ones are refused without asking the
// module, and a goroutine opens it again.
func TestTokenComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		_, keys := openToken(t, h, "a", "b")
		if err := errors.Join(try(keys[0]), try(keys[1]), keys[0].Ready()); err != nil {
			t.Fatal(err)
		}
		away := pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
		h.set(func() { h.session, h.loginErr = 0, away })
		saysError(t, try(keys[0]), "CKR_SESSION_HANDLE_INVALID")
		synctest.Wait()
		for range 10 {
			saysError(t, keys[1].Ready(), "CKR_TOKEN_NOT_PRESENT") // why it could not be opened again
			saysError(t, try(keys[1]), "CKR_SESSION_HANDLE_INVALID")
		}
		synctest.Wait()
		if h.logins != 2 || h.closed != 1 {
			t.Errorf("%d logins, %d closings before the time", h.logins, h.closed)
		}
		h.set(func() { h.loginErr = nil })
		time.Sleep(tokenReopen)
		saysError(t, keys[1].Ready(), "lost") // which starts the next attempt
		synctest.Wait()
		if err := errors.Join(keys[0].Ready(), keys[1].Ready(), try(keys[0]), try(keys[1])); err != nil || h.logins != 3 || h.closed != 1 {
			t.Errorf("%v; %d logins, %d closings", err, h.logins, h.closed)
		}
	})
}

// A late error of a session that has been replaced does not end the new one.
func TestTokenIgnoresOldErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		tok, keys := openToken(t, h, "a")
		for range 2 { // two calls of the first session; the second one returns late
			tok.calls++
			tok.end(0, pkcs11.Error(pkcs11.CKR_SESSION_CLOSED))
			synctest.Wait()
		}
		if err := try(keys[0]); err != nil || h.logins != 2 {
			t.Errorf("%v, %d logins", err, h.logins)
		}
	})
}

// Errors about one signature say nothing about the session.
func TestTokenKeepsSessionOnOtherErrors(t *testing.T) {
	h := newHSM(t)
	_, keys := openToken(t, h, "a")
	keys[0].handle = &failing{Signer: keys[0].handle, err: pkcs11.Error(pkcs11.CKR_DATA_LEN_RANGE)}
	saysError(t, try(keys[0]), "CKR_DATA_LEN_RANGE")
	if err := keys[0].Ready(); err != nil {
		t.Error(err)
	}
}

type failing struct {
	crypto.Signer
	err error
}

func (f *failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, f.err }

// A PIN that was refused is not tried again: tokens lock themselves.
func TestTokenNeverTriesARefusedPINTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		_, keys := openToken(t, h, "a")
		h.set(func() { h.session, h.loginErr = 0, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT) })
		saysError(t, try(keys[0]), "CKR_SESSION_HANDLE_INVALID")
		for range 5 {
			time.Sleep(2 * tokenReopen)
			saysError(t, keys[0].Ready(), "restart the gateway")
			synctest.Wait()
		}
		if h.logins != 2 {
			t.Errorf("%d logins", h.logins)
		}
	})
}

// A token that was initialised anew has other keys, or none: they are refused, and found again if they are put back.
// Another key on the token is not affected.
func TestTokenWithOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		_, keys := openToken(t, h, "a", "b")
		old := h.keys["a"]
		h.set(func() { h.session = 0; h.keys["a"] = newKey(t, "p256") })
		saysError(t, try(keys[0]), "CKR_SESSION_HANDLE_INVALID")
		synctest.Wait()
		saysError(t, keys[0].Ready(), "another one than at the start")
		saysError(t, try(keys[0]), "another one than at the start")
		if err := try(keys[1]); err != nil {
			t.Error(err)
		}
		h.set(func() { delete(h.keys, "a") })
		time.Sleep(tokenReopen)
		saysError(t, keys[0].Ready(), "another one") // starts a look
		synctest.Wait()
		saysError(t, keys[0].Ready(), "no key pair a")
		h.set(func() { h.keys["a"] = old })
		time.Sleep(tokenReopen)
		saysError(t, keys[0].Ready(), "no key pair a")
		synctest.Wait()
		if err := errors.Join(try(keys[0]), try(keys[1])); err != nil || h.logins != 2 {
			t.Errorf("%v, %d logins", err, h.logins)
		}
	})
}

// Opening a token again could end the sessions of another token of its module, so that is left to a person.
func TestTokenIsNotReopenedBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		tok, keys := openToken(t, h, "a")
		tok.alone = func() bool { return false }
		h.set(func() { h.session = 0 })
		saysError(t, try(keys[0]), "CKR_SESSION_HANDLE_INVALID")
		synctest.Wait()
		saysError(t, keys[0].Ready(), "restart the gateway")
		if h.logins != 1 || h.closed != 0 {
			t.Errorf("%d logins, %d closings", h.logins, h.closed)
		}
	})
}

// A call that hangs keeps neither others from signing nor the end from coming, but the token from being opened again.
func TestTokenWithAHungCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		tok, keys := openToken(t, h, "a", "b")
		hang := make(chan struct{})
		h.set(func() { h.hang = hang })
		done := make(chan error, 1)
		go func() { done <- try(keys[0]) }()
		synctest.Wait()
		h.set(func() { h.hang = nil })
		if err := errors.Join(try(keys[1]), keys[0].Ready()); err != nil {
			t.Error(err)
		}
		h.set(func() { h.session = 0 })
		saysError(t, try(keys[1]), "CKR_SESSION_HANDLE_INVALID")
		synctest.Wait()
		saysError(t, keys[1].Ready(), "1 calls have not come back")
		saysError(t, tok.close(), "left open")
		if h.closed != 0 {
			t.Error("closed under a call")
		}
		close(hang)
		if err := <-done; err != nil { // it began before the sessions were lost
			t.Error(err)
		}
	})
}

func TestTokenCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHSM(t)
		tok, keys := openToken(t, h, "a")
		if err := errors.Join(tok.close(), tok.close()); err != nil || h.closed != 1 {
			t.Errorf("%v, %d closings", err, h.closed)
		}
		saysError(t, try(keys[0]), "closed")
		if _, err := tok.find("a", "a"); err == nil {
			t.Error("found a key on a closed token")
		}
		// A module that hangs when it is opened or closed is left behind.
		hung := make(chan struct{})
		tok = &token{name: "t", connect: func() (keyModule, error) { <-hung; return nil, errors.New("too late") }}
		saysError(t, tok.open(), "does not answer")
		tok = &token{name: "t", module: hungModule{hsmSession{h, 0}, hung}}
		saysError(t, tok.close(), "does not answer")
		close(hung)
	})
}

type hungModule struct {
	hsmSession
	hung chan struct{}
}

func (m hungModule) Close() error { <-m.hung; return nil }

// A signer that is known to fail costs no serial: nothing is recorded for requests while its token is lost, and they are
// told to come back.
func TestLostTokenLeavesNoIntents(t *testing.T) {
	h := newHSM(t)
	_, keys := openToken(t, h, "a")
	w := keyOnly(t, keys[0])
	w.issue(t)
	h.set(func() { h.session, h.loginErr = 0, pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED) })
	for n := range 3 {
		_, err := w.authority.Issue(t.Context(), w.request(t))
		if !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
			t.Errorf("request %d: %v", n, err)
		}
		if _, err := w.authority.SignCRL(t.Context(), crlRequest()); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
			t.Errorf("list %d: %v", n, err)
		}
	}
	if list := w.store.all(); len(list) != 2 { // the certificate, and the intent whose signature showed the loss
		t.Errorf("%d records", len(list))
	}
}
