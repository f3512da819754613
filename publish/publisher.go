package publish

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// completeShard is the number of the list that holds every entry of an issuer. It has no issuing distribution point
// (RFC 5280, 5.2.5).
const completeShard = 0

// Limits of publicly trusted issuance (BR 4.9.7).
const (
	publicLifetime = 10 * 24 * time.Hour
	publicInterval = 4 * 24 * time.Hour
)

// Issuer is a signing certificate whose lists are published.
type Issuer struct {
	Name        string            // as in the store and in the path: letters, digits, '.', '_' and '-'
	Certificate *x509.Certificate // verifies the lists and is served itself; needs keyUsage cRLSign
}

// List is what is to be signed as one CRL (RFC 5280, 5.1.2).
type List struct {
	Number     int64     // cRLNumber (RFC 5280, 5.2.3)
	ThisUpdate time.Time // UTC, whole seconds
	NextUpdate time.Time // UTC, whole seconds
	Entries    []Revoked // ascending by serial, each serial once
}

// Config is what a Publisher needs. Zero durations take the defaults named.
type Config struct {
	Store   Store
	Issuers []Issuer
	// Sign makes the DER of a CRL with exactly the entries, number and times of the list. It must be safe for concurrent
	// use and obey ctx. What it returns is not trusted but checked.
	Sign func(ctx context.Context, issuer string, list List) ([]byte, error)

	// Seen are the lists, as DER by issuer, that relying parties were served last as far as this machine knows: no list
	// loses an entry of them or falls in number, whatever the store says. One that is no list of its issuer is ignored.
	Seen map[string][]byte
	// Remember keeps a list for a later Seen. It is called before the list is served; if it fails the list is served all the
	// same. Nil: nothing is kept.
	Remember func(issuer string, der []byte) error
	// Restored says that the store was begun anew after the one before was lost: for a minute the first list is left to
	// processes that have Seen one.
	Restored bool

	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default: nothing is logged
	Public   bool             // hold Lifetime and Interval to BR 4.9.7
	Interval time.Duration    // a new list at least this often; default 1 h, at most half of Lifetime
	Lifetime time.Duration    // nextUpdate − thisUpdate, whole seconds; default 24 h; public at most 10 d
	Poll     time.Duration    // how often the store is read without a hint; default 10 s
	MaxAge   time.Duration    // how long caches may keep a list; default 30 s, so that poll, build and cache stay under a minute
	Timeout  time.Duration    // of one build, signing included; default 1 min
	// Lease is how long the right to build stays with the process that took it, at least a second; default 10 s. When a
	// holder dies or hangs, revocations wait so long at most before another builds, or three builds of a very long list.
	Lease time.Duration
	// Holder names the process in leases; default a random name. No two that run have one name. A process with the name
	// of one that has ended need not wait for the lease of its earlier life to run out.
	Holder string
}

// Publisher keeps one list per issuer fresh and serves it. It is safe for concurrent use; several publishers, in one
// process or many, may share a store: one of them builds, all of them serve.
type Publisher struct {
	store    Store
	sign     func(context.Context, string, List) ([]byte, error)
	remember func(issuer string, der []byte) error // may be nil
	restored bool
	begun    time.Time
	now      func() time.Time
	log      *slog.Logger
	interval time.Duration
	lifetime time.Duration
	poll     time.Duration
	maxAge   time.Duration
	timeout  time.Duration
	lease    time.Duration
	holder   string // names this publisher in leases

	issuers []*issuer // in the configuration's order
	byName  map[string]*issuer
}

// issuer is the state of one issuer's list.
type issuer struct {
	Issuer
	building chan struct{}              // holds one token while nobody builds
	kicks    chan struct{}              // a hint of a revocation waits here; hints merge
	news     chan struct{}              // a hint of another list or a lease given back waits here; hints merge
	current  atomic.Pointer[parsedList] // what is served: the newest list known, nil before the first
	certETag string

	// Under the token:
	held      Lease         // this process's lease, free if it has none
	heldUntil time.Time     // when it runs out at the earliest, by this machine's clock
	took      time.Duration // reading and signing the last list that was signed here

	mu      sync.Mutex
	lastErr error
	errAt   time.Time
}

// New checks the configuration. It reads nothing; lists appear when Run or Load is called.
func New(cfg Config) (*Publisher, error) {
	p := &Publisher{
		store: cfg.Store, sign: cfg.Sign, remember: cfg.Remember, restored: cfg.Restored, begun: time.Now(), now: cfg.Now, log: cfg.Log,
		interval: cmp.Or(cfg.Interval, time.Hour),
		lifetime: cmp.Or(cfg.Lifetime, 24*time.Hour),
		poll:     cmp.Or(cfg.Poll, 10*time.Second),
		maxAge:   cmp.Or(cfg.MaxAge, 30*time.Second),
		timeout:  cmp.Or(cfg.Timeout, time.Minute),
		lease:    cmp.Or(cfg.Lease, 10*time.Second),
		holder:   cmp.Or(cfg.Holder, rand.Text()),
		byName:   make(map[string]*issuer, len(cfg.Issuers)),
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.store == nil || p.sign == nil {
		return nil, errors.New("publish: a store and a sign function are needed")
	}
	if err := p.checkTimes(cfg.Public); err != nil {
		return nil, err
	}
	for _, is := range cfg.Issuers {
		if err := p.addIssuer(is); err != nil {
			return nil, err
		}
	}
	for _, is := range p.issuers {
		if der, ok := cfg.Seen[is.Name]; ok {
			list, err := parse(der, is.Certificate)
			if err != nil {
				p.log.Warn("the list that was kept is ignored", "issuer", is.Name, "error", err)
				continue
			}
			is.current.Store(list)
		}
	}
	return p, nil
}

// Served are the lists that are served now, as DER by issuer: what a publisher that takes this one's place has Seen.
func (p *Publisher) Served() map[string][]byte {
	lists := map[string][]byte{}
	for _, is := range p.issuers {
		if cur := is.current.Load(); cur != nil {
			lists[is.Name] = cur.der
		}
	}
	return lists
}

// serve makes a list what is served. The caller has the issuer's token.
func (p *Publisher) serve(is *issuer, list *parsedList) {
	if p.remember != nil {
		if err := p.remember(is.Name, list.der); err != nil {
			p.log.Warn("a list could not be kept; should the store be lost, a later start does not know it", "issuer", is.Name, "error", err)
		}
	}
	is.current.Store(list)
}

func (p *Publisher) checkTimes(public bool) error {
	switch {
	case p.interval < 0 || p.poll < 0 || p.maxAge < 0 || p.timeout < 0:
		return errors.New("publish: interval, poll, max age and timeout must be positive")
	case p.lease < time.Second:
		return fmt.Errorf("publish: CRL lease %v must be at least a second", p.lease)
	case p.lifetime < time.Second || p.lifetime%time.Second != 0:
		return fmt.Errorf("publish: CRL lifetime %v must be whole seconds, at least one", p.lifetime)
	case p.interval > p.lifetime/2:
		// One failed rebuild must leave time for another before nextUpdate.
		return fmt.Errorf("publish: CRL interval %v is more than half of the lifetime %v", p.interval, p.lifetime)
	case public && p.lifetime > publicLifetime:
		return fmt.Errorf("publish: CRL lifetime %v is more than %v (BR 4.9.7)", p.lifetime, publicLifetime)
	case public && p.interval > publicInterval:
		return fmt.Errorf("publish: CRL interval %v is more than %v (BR 4.9.7)", p.interval, publicInterval)
	}
	return nil
}

func (p *Publisher) addIssuer(is Issuer) error {
	if !validName(is.Name) {
		return fmt.Errorf("publish: issuer name %q: use letters, digits, '.', '_' and '-'", is.Name)
	}
	if p.byName[is.Name] != nil {
		return fmt.Errorf("publish: issuer %q is named twice", is.Name)
	}
	if is.Certificate == nil {
		return fmt.Errorf("publish: issuer %q has no certificate", is.Name)
	}
	// RFC 5280, 4.2.1.3: cRLSign is needed to verify signatures on revocation lists.
	if is.Certificate.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return fmt.Errorf("publish: the certificate of issuer %q may not sign CRLs: keyUsage lacks cRLSign", is.Name)
	}
	s := &issuer{
		Issuer:   is,
		building: make(chan struct{}, 1),
		kicks:    make(chan struct{}, 1),
		news:     make(chan struct{}, 1),
		certETag: etag(is.Certificate.Raw),
	}
	s.building <- struct{}{}
	p.issuers = append(p.issuers, s)
	p.byName[is.Name] = s
	return nil
}

// validName allows what stands for itself in one path segment.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 64 {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// IssuerStatus is where one issuer's list stands.
type IssuerStatus struct {
	Issuer     string
	Number     int64     // 0: there is no list
	ThisUpdate time.Time // of the list served
	NextUpdate time.Time
	Entries    int
	Size       int       // octets of DER
	Err        error     // of the last build or read, nil after success
	ErrAt      time.Time // when
}

// Status tells where every issuer's list stands, in the configuration's order. It reads memory only.
func (p *Publisher) Status() []IssuerStatus {
	all := make([]IssuerStatus, len(p.issuers))
	for i, is := range p.issuers {
		st := IssuerStatus{Issuer: is.Name}
		if cur := is.current.Load(); cur != nil {
			st.Number, st.ThisUpdate, st.NextUpdate = cur.number, cur.thisUpdate, cur.nextUpdate
			st.Entries, st.Size = len(cur.entries), len(cur.der)
		}
		is.mu.Lock()
		st.Err, st.ErrAt = is.lastErr, is.errAt
		is.mu.Unlock()
		all[i] = st
	}
	return all
}

// Ready fails while an issuer has no list or an outdated one. It reads memory only; a failed rebuild alone does not
// make it fail, because the list before still serves.
func (p *Publisher) Ready(context.Context) error {
	now := p.now()
	for _, is := range p.issuers {
		switch cur := is.current.Load(); {
		case cur == nil:
			return fmt.Errorf("publish: issuer %s has no CRL yet", is.Name)
		case !now.Before(cur.nextUpdate):
			return fmt.Errorf("publish: the CRL of issuer %s ended at %s", is.Name, cur.nextUpdate.Format(time.RFC3339))
		}
	}
	return nil
}

// Load reads the stored lists without building any, for a command that only looks and for tests.
func (p *Publisher) Load(ctx context.Context) error {
	var errs []error
	for _, is := range p.issuers {
		errs = append(errs, p.loadOne(ctx, is))
	}
	return errors.Join(errs...)
}

func (p *Publisher) loadOne(ctx context.Context, is *issuer) error {
	select {
	case <-is.building:
		defer func() { is.building <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := p.reload(ctx, is)
	if err != nil {
		err = fmt.Errorf("CRL of issuer %s: %w", is.Name, err)
	}
	is.note(err, p.now())
	return err
}

// note remembers the outcome of a build for Status.
func (is *issuer) note(err error, at time.Time) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.lastErr, is.errAt = err, at
	if err == nil {
		is.errAt = time.Time{}
	}
}
