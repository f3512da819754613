package ca

import (
	"errors"
	"fmt"
	"time"
)

// PKCS #11 sessions do not survive a token that is taken away, restarted or initialised anew, and the session pool of the
// library keeps the dead ones. When a signature shows that this has happened, the token counts as lost: every key on it
// refuses at once, without asking the module, while one goroutine opens the token again and looks its keys up.

// tokenReopen is the least time between two attempts.
const tokenReopen = 5 * time.Second

// kick starts the goroutine that restores the token, unless it is at it or was a moment ago. While calls are under way in a
// lost token it does nothing: closing would wait for them, and they may hang for good. The last of them kicks again. t.mu
// is held.
func (t *token) kick() {
	if t.lost != nil && t.calls > 0 {
		return
	}
	if now := time.Now(); !t.restoring && !t.gone && !now.Before(t.next) {
		t.restoring, t.next = true, now.Add(tokenReopen)
		go t.restore()
	}
}

// restore makes one attempt: it opens the token if it is lost, and looks up the keys that have no handle.
func (t *token) restore() {
	err := t.reopen()
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.restoring = false }()
	if t.obstacle = err; err != nil {
		return
	}
	for _, k := range t.keys {
		if t.lost == nil && t.module != nil && k.epoch != t.epoch {
			t.restoreKey(k)
		}
	}
}

// restoreKey looks up one key. t.mu is held, and let go while the module is asked.
func (t *token) restoreKey(k *tokenKey) {
	m, epoch := t.module, t.epoch
	t.calls++ // nobody closes the module meanwhile
	t.mu.Unlock()
	handle, err := lookUp(m, k.uri, k.name, k.public)
	t.mu.Lock()
	t.calls--
	switch k.obstacle = err; {
	case err == nil:
		k.handle, k.epoch = handle, epoch
	case sessionLost(err):
		t.lost = fmt.Errorf("its sessions are lost: %w", err)
	}
}

// reopen closes a lost token and opens it again. It does nothing if the token is not lost.
func (t *token) reopen() error {
	old, lost, err := t.takeLost(t.alone())
	if err != nil || !lost {
		return err
	}
	if old != nil {
		_ = old.Close() // it is lost: whether the module says so once more does not matter
	}
	m, err := t.connect()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case pinRefused(err):
		t.gone = true // tokens lock themselves after a few wrong ones
		return fmt.Errorf("%w; it is not tried again: correct the PIN and restart the gateway", err)
	case err != nil:
		return err
	case t.gone: // closed meanwhile
		go func() { _ = m.Close() }()
		return errors.New("it was closed")
	}
	t.module, t.lost = m, nil
	t.epoch++
	return nil
}

// takeLost takes the module of a lost token out of use. The module is nil if an earlier attempt has done so.
func (t *token) takeLost(alone bool) (m keyModule, lost bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.lost == nil:
		return nil, false, nil
	case !alone:
		return nil, true, errors.New("other tokens of the same module are in use, which that would disturb; restart the gateway")
	case t.calls > 0:
		return nil, true, fmt.Errorf("%d calls had not come back", t.calls) // as in kick
	}
	m, t.module = t.module, nil
	return m, true, nil
}
