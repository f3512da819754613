package notify_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// clock is the time of a world, which its test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a store, a mail server, and what couriers between them need.
type world struct {
	t         *testing.T
	db        *storage.DB
	folder    string
	server    *testca.SMTP
	hierarchy *testca.Hierarchy
	config    notify.SMTPConfig
	sealer    *seal.Sealer
	clock     *clock
	log       *lockedBuffer
	rules     []notify.Rule
	replaced  func(context.Context, *ra.Enrollment) (ra.ID, error)
	outcomes  map[notify.Outcome]int
	mu        sync.Mutex
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

const password = "correct horse battery staple"

// newWorld has a server with STARTTLS that demands a password. change, if not nil, may change what is asked of it.
func newWorld(t *testing.T, rules []notify.Rule, change func(*testca.SMTPConfig)) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir(), rules: rules, log: &lockedBuffer{}, outcomes: map[notify.Outcome]int{}}
	w.clock = &clock{now: time.Now().UTC().Truncate(time.Second)}
	engine := must(embedded.Open(embedded.Config{Dir: w.folder}))(t)
	t.Cleanup(func() { engine.Close() })
	w.db = must(storage.Open(t.Context(), storage.Config{Engine: engine, Receives: notify.Receives(rules)}))(t)
	w.hierarchy = must(testca.NewHierarchy(testca.HierarchyConfig{}))(t)
	leaf := must(w.hierarchy.Leaf("localhost", "127.0.0.1"))(t)
	sc := testca.SMTPConfig{Certificate: &leaf, Username: "gatehouse", Password: password}
	if change != nil {
		change(&sc)
	}
	w.server = must(testca.NewSMTP(sc))(t)
	t.Cleanup(func() { w.server.Close() })
	host, port, _ := net.SplitHostPort(w.server.Addr())
	n := must(strconv.ParseUint(port, 10, 16))(t)
	w.config = notify.SMTPConfig{
		Host: host, Port: uint16(n), TLS: notify.StartTLS, Roots: w.hierarchy.Pool(), Hello: "gate.example.com",
		Username: sc.Username, Password: sc.Password, From: "ca@example.com", FromName: "Example CA",
	}
	var key [32]byte
	rand.Read(key[:])
	w.sealer = must(seal.New(must(seal.NewKey(key[:]))(t)))(t)
	return w
}

// courier is one gateway's. Its sweeps are the test's to run; what they begin has ended when the function that it returns does.
func (w *world) courier(change func(*notify.Config)) (*notify.Courier, func()) {
	w.t.Helper()
	group := work.New(work.Config{})
	config := notify.Config{
		Store: w.db, Sealer: w.sealer, Transport: must(notify.NewSMTP(w.config))(w.t), Work: group, Rules: w.rules, Now: w.clock.Now,
		Log: slog.New(slog.NewTextHandler(w.log, nil)), SendTimeout: 10 * time.Second, Organisations: func() []int32 { return []int32{1, 2} },
		Organisation: func(org int32) string { return map[int32]string{1: "main", 2: "other"}[org] }, Replaced: w.replaced,
		Observe: func(o notify.Outcome) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.outcomes[o]++
		},
	}
	if change != nil {
		change(&config)
	}
	c := must(notify.New(config))(w.t)
	return c, func() {
		w.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := group.Drain(ctx); err != nil {
			w.t.Error(err)
		}
	}
}

// turn is one sweep of a courier of its own, with the end of what it begins.
func (w *world) turn(change func(*notify.Config)) *notify.Courier {
	w.t.Helper()
	c, wait := w.courier(change)
	if err := c.Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	wait()
	return c
}

const secret = "dGhlIHNlY3JldCBvZiBhIG1haWw"

// mail records one with a secret.
func (w *world) mail(to string) *ra.Mail {
	w.t.Helper()
	m := &ra.Mail{
		ID: ra.NewMailID(), Org: 1, Kind: ra.MailDomainValidation, To: to, Created: w.clock.Now(), Until: w.clock.Now().Add(24 * time.Hour),
		Data: map[string]string{"domain": "example.com", "organisation": "main", "link": "https://ca.example.com/dcv/email/", "until": "2027-01-01 00:00 UTC"},
	}
	m.Sealed = must(w.sealer.Seal(w.t.Context(), seal.MailSecret, m.ID, []byte(secret)))(w.t)
	if err := w.db.HandOver(w.t.Context(), nil, []*ra.Mail{m}); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// stored reads a mail; nil if it is gone.
func (w *world) stored(m *ra.Mail) *ra.Mail {
	w.t.Helper()
	found, err := w.db.Mail(w.t.Context(), m.ID)
	if err != nil && !problem.Is(err, problem.NotFound) {
		w.t.Fatal(err)
	}
	return found
}

// issued records an enrollment with a certificate until some time from now.
func (w *world) issued(org auth.OrgID, ends time.Duration, change func(*ra.Enrollment)) *ra.Enrollment {
	w.t.Helper()
	e := enrollment(w.t, w.db, w.clock.Now(), org)
	e.Phase, e.Issuer, e.Serial = ra.Issued, "main", "01ab"
	e.NotBefore, e.Issued, e.NotAfter = w.clock.Now(), w.clock.Now(), w.clock.Now().Add(ends).Truncate(time.Second)
	if change != nil {
		change(e)
	}
	if err := w.db.AwaitEnrollment(w.t.Context(), e, [16]byte{}, nil, ra.WaitingBounds{}); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// waiting records a request that waits for approval.
func (w *world) waiting(org auth.OrgID, change func(*ra.Enrollment)) *ra.Enrollment {
	w.t.Helper()
	return w.issued(org, time.Hour, func(e *ra.Enrollment) {
		e.Phase, e.Issuer, e.Serial, e.NotBefore, e.NotAfter, e.Issued = ra.Waiting, "", "", time.Time{}, time.Time{}, time.Time{}
		e.Due = w.clock.Now().Add(7 * 24 * time.Hour)
		if change != nil {
			change(e)
		}
	})
}

func enrollment(t *testing.T, db *storage.DB, now time.Time, org auth.OrgID) *ra.Enrollment {
	t.Helper()
	id := must(db.NextEnrollment(t.Context()))(t)
	content := sha256.Sum256([]byte(strconv.Itoa(int(id))))
	return &ra.Enrollment{
		ID: id, Org: org, Door: ra.DoorACME, Requester: "acme:alice", Profile: "tls", Created: now, Content: hex.EncodeToString(content[:]),
		Names: []identifier.Identifier{must(identifier.ParseDNS("www.example.com"))(t)},
	}
}
