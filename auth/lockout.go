package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Who tries passwords is slowed down, and nobody can lock a person out. Every attempt that needs a hash takes from rates before
// the hash is made, so that attempts at once do not slip through. From an address where the principal has proved its
// password in the last month it takes from a rate of that principal at that address alone. From all others together it takes
// from two rates of the login, the second of which makes who goes on wait longer, and one of the address. So a stranger can
// make a person wait who comes from an address for the first time, and for that long; never one who comes from where it was.
// A new password begins afresh. Logins that nobody has count like others.

// Lockout are the rates of attempts.
type Lockout struct {
	Known     Rate // of a principal at an address where it has been; default 30, and one in 10 s
	Login     Rate // of a login from all other addresses; default 10, and one in 30 s
	LoginLong Rate // the same; default 100, and one in 10 minutes
	Address   Rate // of an address, with all other logins and credentials; default 50, and one in 5 s
	Token     Rate // of access tokens for one client; default 60, and one in a second
}

func (l Lockout) orDefault() Lockout {
	set := func(r *Rate, burst int, interval time.Duration) {
		if *r == (Rate{}) {
			*r = Rate{burst, interval}
		}
	}
	set(&l.Known, 30, 10*time.Second)
	set(&l.Login, 10, 30*time.Second)
	set(&l.LoginLong, 100, 10*time.Minute)
	set(&l.Address, 50, 5*time.Second)
	set(&l.Token, 60, time.Second)
	return l
}

// knownFor is how long an address is remembered after a password was proved there.
const knownFor = 30 * 24 * time.Hour

// NetworkOf is what counts as one address where attempts are counted: of IPv6 the network of 64 bits.
func NetworkOf(from netip.Addr) string {
	from = from.Unmap().WithZone("")
	if !from.IsValid() {
		return "unknown" // all such together
	}
	if from.Is6() {
		site, _ := from.Prefix(64)
		return site.Addr().String()
	}
	return from.String()
}

// of is whose the rates of a login are: however a customer is named they are the same.
func (a *Authenticator) of(customer, login string) string {
	if id, ok := a.x.Directory.customerBySlug(customer); ok {
		customer = strconv.Itoa(int(id))
	} else {
		customer = "-" + customer
	}
	sum := sha256.Sum256([]byte(customer + "\x00" + login))
	return hex.EncodeToString(sum[:16])
}

// attempt takes from the rates of an attempt. known says that the address is one where the principal has been.
func (a *Authenticator) attempt(ctx context.Context, p *Principal, login string, from netip.Addr) (known bool, err error) {
	address := NetworkOf(from)
	var id PrincipalID
	var changed int64
	if p != nil {
		id, changed = p.ID, p.Password.Changed.Unix()
	}
	if known, err = a.x.Store.KnownAddress(ctx, id, address); err != nil {
		return false, err
	}
	if p != nil && known {
		of := strconv.Itoa(int(id)) + "/" + strconv.FormatInt(changed, 10) + "/" + address
		return true, a.take(ctx, AttemptRate{a.Lockout.Known, "known", of})
	}
	of := login + "/" + strconv.FormatInt(changed, 10)
	return false, a.take(ctx, AttemptRate{a.Lockout.Login, "login", of}, AttemptRate{a.Lockout.LoginLong, "login-long", of},
		AttemptRate{a.Lockout.Address, "address", address})
}

// take takes from rates, or says RateLimited.
func (a *Authenticator) take(ctx context.Context, rates ...AttemptRate) error {
	wait, err := a.x.Store.Attempt(ctx, rates...)
	if err == nil && wait > 0 {
		err = problem.New(problem.RateLimited, "too many attempts; try again later").After(wait)
	}
	return err
}

// failed counts an attempt with something that cannot be guessed: it slows down who keeps sending what does not count, and
// nobody else, because what counts takes from no rate.
func (a *Authenticator) failed(ctx context.Context, p *Principal, from netip.Addr, why string) error {
	err := a.refuse(p, from, why)
	if limited := a.take(ctx, AttemptRate{a.Lockout.Address, "address", NetworkOf(from)}); limited != nil {
		return limited
	}
	return err
}

// remember keeps an address where a principal has proved its password.
func (a *Authenticator) remember(ctx context.Context, p *Principal, from netip.Addr) {
	if err := a.x.Store.RememberAddress(ctx, p.ID, NetworkOf(from), a.x.Now().Add(knownFor)); err != nil {
		a.Log.Warn("remembering where a principal has been failed", "principal", p.ID.String(), "error", err)
	}
}

// maxRemembered bounds what this process remembers of credentials.
const maxRemembered = 10_000

// verifiedKey is what an entry of the cache is found by.
type verifiedKey [sha256.Size]byte

// verifiedPasswords are passwords that were verified shortly before. It keeps none of them, only an HMAC under a key of this
// process, over the principal, the sealed hash and the password: once another hash is stored, it is not found any more.
type verifiedPasswords struct {
	key [32]byte
	ttl time.Duration

	mu   sync.Mutex
	ends map[verifiedKey]time.Time
}

func newVerifiedPasswords(ttl time.Duration) *verifiedPasswords {
	v := &verifiedPasswords{ttl: ttl, ends: map[verifiedKey]time.Time{}}
	rand.Read(v.key[:])
	return v
}

func (v *verifiedPasswords) of(p *Principal, password string) (k verifiedKey) {
	m := hmac.New(sha256.New, v.key[:])
	var head [12]byte
	binary.BigEndian.PutUint32(head[:4], uint32(p.ID))
	binary.BigEndian.PutUint64(head[4:], uint64(len(p.Password.Sealed)))
	m.Write(head[:])
	m.Write(p.Password.Sealed)
	m.Write([]byte(password))
	m.Sum(k[:0])
	return k
}

func (v *verifiedPasswords) has(p *Principal, password string, now time.Time) bool {
	k := v.of(p, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Before(v.ends[k])
}

func (v *verifiedPasswords) add(p *Principal, password string, now time.Time) {
	k := v.of(p, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.ends) >= maxRemembered {
		for k, end := range v.ends {
			if !now.Before(end) {
				delete(v.ends, k)
			}
		}
		if len(v.ends) >= maxRemembered {
			clear(v.ends) // then hashes are made again, that is all
		}
	}
	v.ends[k] = now.Add(v.ttl)
}

// useEvery is how coarse the time of last use is.
const useEvery = time.Hour

// lastUse is when this process has told the store that a credential was used. The zero value is ready.
type lastUse struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// due reports whether the store is to be told, and takes it as told.
func (l *lastUse) due(id string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if told, ok := l.told[id]; ok && now.Sub(told) < useEvery {
		return false
	}
	if l.told == nil || len(l.told) >= maxRemembered {
		l.told = map[string]time.Time{}
	}
	l.told[id] = now
	return true
}

// uses notes that a credential was used. What goes wrong with that is not the caller's business.
func (a *Authenticator) uses(ctx context.Context, id string, now time.Time) {
	if !a.used.due(id, now) {
		return
	}
	if err := a.x.Store.CredentialUse(ctx, id, now.UTC().Truncate(time.Second)); err != nil {
		a.Log.Warn("noting when a credential was used failed", "credential", id, "error", err)
	}
}
