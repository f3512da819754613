package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// benchCall is a kind of request.
type benchCall int

const (
	callNewOrder benchCall = iota
	callAuthorization
	callChallenge
	callFinalize
	callCertificate
	callPoll       // of an authorization or an order that is under way
	callNewAccount // outside measured time
	benchCalls
)

func (c benchCall) String() string {
	return [benchCalls]string{"newOrder", "authorization", "challenge", "finalize", "certificate", "poll", "newAccount"}[c]
}

// maxFailuresInARow ends a client: the server has gone, or refuses everything.
const maxFailuresInARow = 10

// benchStats is what one client has seen.
type benchStats struct {
	whole        []time.Duration // of issuances that succeeded
	calls        [benchCalls][]time.Duration
	certificates []benchCertificate
	issued       int
	failed       int
	polls        int
	badNonces    int
	firstError   error
}

func (s *benchStats) fail(err error) {
	s.failed++
	if s.firstError == nil {
		s.firstError = err
	}
}

// benchRun adds up what all clients have seen in one run or several.
type benchRun struct {
	benchStats
	elapsed  time.Duration // from the first request to the last answer
	cpu      time.Duration // of the server
	redisCPU time.Duration // of the server's Redis, if it has one
}

// add joins another run of the same server and level.
func (r *benchRun) add(o *benchRun) {
	r.elapsed += o.elapsed
	r.cpu += o.cpu
	r.redisCPU += o.redisCPU
	r.join(&o.benchStats)
}

func (s *benchStats) join(o *benchStats) {
	s.whole = append(s.whole, o.whole...)
	for call := range s.calls {
		s.calls[call] = append(s.calls[call], o.calls[call]...)
	}
	s.certificates = append(s.certificates, o.certificates...)
	s.issued += o.issued
	s.failed += o.failed
	s.polls += o.polls
	s.badNonces += o.badNonces
	if s.firstError == nil {
		s.firstError = o.firstError
	}
}

// benchLoad is clients at work, each on one order after the other.
type benchLoad struct {
	clients []*benchClient
	next    func() *benchOrder // nil: there are no more
	limit   time.Duration      // no order is begun later than this
	done    atomic.Int64       // orders that are over, for the progress
}

// prepare gives every client a connection and a nonce.
func (l *benchLoad) prepare(ctx context.Context) error {
	for _, c := range l.clients {
		if err := c.freshNonce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run returns when all orders are over, no more may be begun, or ctx has ended; what ctx interrupted is not counted.
func (l *benchLoad) run(ctx context.Context) *benchRun {
	stats := make([]benchStats, len(l.clients))
	var wg sync.WaitGroup
	begun := time.Now()
	for i, c := range l.clients {
		wg.Go(func() {
			c.stats = &stats[i]
			l.work(ctx, c, begun)
		})
	}
	wg.Wait()
	run := &benchRun{elapsed: time.Since(begun)}
	for i := range stats {
		run.join(&stats[i])
	}
	return run
}

func (l *benchLoad) work(ctx context.Context, c *benchClient, begun time.Time) {
	inARow := 0
	for ctx.Err() == nil && time.Since(begun) < l.limit && inARow < maxFailuresInARow {
		o := l.next()
		if o == nil {
			return
		}
		start := time.Now()
		chain, err := c.issue(ctx, o)
		took := time.Since(start)
		switch {
		case err == nil:
			c.stats.issued++
			c.stats.whole = append(c.stats.whole, took)
			c.stats.certificates = append(c.stats.certificates, benchCertificate{o, chain})
			inARow = 0
		case ctx.Err() != nil:
			return
		default:
			c.stats.fail(fmt.Errorf("%s: %w", o.names[0], err))
			inARow++
		}
		l.done.Add(1)
	}
}

// benchAnswers answers the challenges of all clients, and the gateway's look-ups: every name is this machine. It is in this
// process so that none of it is counted as the gateway's.
type benchAnswers struct {
	listener net.Listener
	server   *http.Server
	tokens   sync.Map // token to key authorization
	dns      *testca.DNS
	alpn     *testca.TLSALPN
}

func newBenchAnswers() (*benchAnswers, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("answering http-01: %w", err)
	}
	a := &benchAnswers{listener: l}
	if a.dns, err = testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if a.alpn, err = testca.NewTLSALPN(testca.TLSALPNConfig{}); err != nil {
		return nil, errors.Join(err, a.dns.Close(), l.Close())
	}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: benchTimeout}
	go a.server.Serve(l)
	return a, nil
}

func (a *benchAnswers) close() error {
	return errors.Join(a.server.Close(), a.alpn.Close(), a.dns.Close())
}

func (a *benchAnswers) addr() string { return a.listener.Addr().String() }

func (a *benchAnswers) port() string { return strconv.Itoa(a.listener.Addr().(*net.TCPAddr).Port) }

func (a *benchAnswers) tlsPort() string { return strconv.Itoa(int(a.alpn.Addr().Port())) }

// answer makes a challenge for a name succeed until the function it returns is called.
func (a *benchAnswers) answer(method dcv.Method, name, token, keyAuthorization string) (remove func(), err error) {
	switch method {
	case dcv.DNS01: // RFC 8555, 8.4
		digest := sha256.Sum256([]byte(keyAuthorization))
		name = "_acme-challenge." + name
		err := a.dns.Add(fmt.Sprintf("%s. 1 IN TXT %q", name, encode64(digest[:])))
		return func() { a.dns.Remove(name) }, err
	case dcv.TLSALPN01: // RFC 8737, 3
		id, err := identifier.ParseDNS(name)
		if err != nil {
			return nil, err
		}
		a.alpn.Set(id, keyAuthorization)
		return func() { a.alpn.Remove(id) }, nil
	default:
		a.tokens.Store(token, keyAuthorization)
		return func() { a.tokens.Delete(token) }, nil
	}
}

// challengePath is where http-01 looks (RFC 8555, 8.3).
const challengePath = "/.well-known/acme-challenge/"

func (a *benchAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.URL.Path, challengePath)
	answer, ok := a.tokens.Load(token)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	fmt.Fprint(w, answer)
}
