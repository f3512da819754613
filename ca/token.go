package ca

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.step.sm/crypto/kms/apiv1"
)

const (
	tokenOpenTime  = time.Minute     // how long a module may take to open a token, or find a key, at the start
	tokenCloseTime = 5 * time.Second // and to close it at the end
)

// keyModule is a token that is open (go.step.sm/crypto/kms/pkcs11). It is safe for concurrent use; any call may hang.
type keyModule interface {
	CreateSigner(req *apiv1.CreateSignerRequest) (crypto.Signer, error)
	Close() error
}

// token is an open token and the keys in use on it. tokenrestore.go says what happens when its sessions are lost.
type token struct {
	name    string // for messages
	connect func() (keyModule, error)
	// alone reports whether the process has nothing else open of this module. Opening a token again may finalise the
	// module (PKCS #11, C_Finalize), which ends the sessions of every other token in it.
	alone func() bool

	mu        sync.Mutex // never held while the module is asked
	module    keyModule  // nil while it is not open
	epoch     int        // counts openings; a key's handle is good in one
	keys      []*tokenKey
	calls     int       // under way in module
	lost      error     // why the sessions of this epoch are dead; nil: they are not
	obstacle  error     // why the last attempt to open it again failed
	gone      bool      // closed, or never to be opened again
	restoring bool      // a goroutine is at it
	next      time.Time // when one may be at it again
}

// tokenKey is a key on a token: a crypto.Signer whose signatures the token makes. It is safe for concurrent use.
type tokenKey struct {
	token  *token
	uri    string // for the module
	name   string // for messages
	public crypto.PublicKey

	// Under token.mu.
	handle   crypto.Signer
	epoch    int   // in which handle is good
	obstacle error // why there is no handle in the present epoch
}

// open opens the token for the first time.
func (t *token) open() error {
	m, err := within(tokenOpenTime, t.connect)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.module = m
	return nil
}

// find looks a key up for the first time and makes it one of the token's.
func (t *token) find(uri, name string) (*tokenKey, error) {
	t.mu.Lock()
	m, epoch := t.module, t.epoch
	t.mu.Unlock()
	if m == nil {
		return nil, fmt.Errorf("%s: it is not open", t.name)
	}
	k := &tokenKey{token: t, uri: uri, name: name, epoch: epoch}
	var err error
	if k.handle, err = within(tokenOpenTime, func() (crypto.Signer, error) { return lookUp(m, uri, name, nil) }); err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	k.public = k.handle.Public()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append(t.keys, k)
	return k, nil
}

// lookUp finds a key's handle. If its public half is known, another key under its name is refused.
func lookUp(m keyModule, uri, name string, known crypto.PublicKey) (crypto.Signer, error) {
	s, err := m.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: uri})
	if err != nil {
		return nil, explainKey(name, err)
	}
	if known == nil {
		return s, nil
	}
	if k, ok := known.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(s.Public()) {
		return nil, fmt.Errorf("the key %s is another one than at the start; put the old one back, or restart with a certificate for the new one", name)
	}
	return s, nil
}

// Public is the public half, as it was at the start.
func (k *tokenKey) Public() crypto.PublicKey { return k.public }

// Ready says why the key cannot sign now; nil if nothing is known against it. It does not ask the module, and starts what
// may bring a lost token back.
func (k *tokenKey) Ready() error {
	k.token.mu.Lock()
	defer k.token.mu.Unlock()
	return k.ready()
}

// ready is Ready under token.mu.
func (k *tokenKey) ready() error {
	t := k.token
	var err error
	switch {
	case t.lost != nil && t.calls > 0:
		err = fmt.Errorf("%w; %d calls have not come back; if they never do, restart the gateway", t.lost, t.calls)
	case t.lost != nil && t.obstacle != nil:
		err = fmt.Errorf("%w; opening it again: %w", t.lost, t.obstacle)
	case t.lost != nil:
		err = t.lost
	case t.gone:
		err = errors.New("it was closed")
	case k.epoch == t.epoch:
		return nil
	case k.obstacle != nil:
		err = k.obstacle
	default:
		err = fmt.Errorf("the key %s is being looked up", k.name)
	}
	t.kick()
	return fmt.Errorf("%s: %w", t.name, err)
}

// Sign has the token sign a digest. Randomness is the token's own.
func (k *tokenKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	t := k.token
	handle, epoch, err := k.begin()
	if err != nil {
		return nil, err
	}
	defer func() { t.end(epoch, err) }() // also if the module panics
	if sig, err = handle.Sign(rand, digest, opts); err != nil {
		return nil, fmt.Errorf("%s: the key %s did not sign: %w", t.name, k.name, err)
	}
	return sig, nil
}

func (k *tokenKey) begin() (handle crypto.Signer, epoch int, err error) {
	k.token.mu.Lock()
	defer k.token.mu.Unlock()
	if err := k.ready(); err != nil {
		return nil, 0, err
	}
	k.token.calls++
	return k.handle, k.epoch, nil
}

// end is the end of a call in an epoch, with its error.
func (t *token) end(epoch int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls--
	if t.lost == nil && t.epoch == epoch && !t.gone && sessionLost(err) {
		t.lost = fmt.Errorf("its sessions are lost: %w", err)
	}
	if t.lost != nil {
		t.kick()
	}
}

// close closes the token, unless calls are under way: closing would wait for them.
func (t *token) close() error {
	t.mu.Lock()
	m, calls := t.module, t.calls
	t.gone, t.module = true, nil
	t.mu.Unlock()
	switch {
	case m == nil:
		return nil
	case calls > 0:
		return fmt.Errorf("%s: left open: %d calls have not come back", t.name, calls)
	}
	_, err := within(tokenCloseTime, func() (struct{}, error) { return struct{}{}, m.Close() })
	if err != nil {
		return fmt.Errorf("%s: closing: %w", t.name, err)
	}
	return nil
}

// within runs a call that may hang, and leaves it behind when its time is over.
func within[T any](limit time.Duration, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		var none T
		return none, fmt.Errorf("its module does not answer (waited %s)", limit)
	}
}
