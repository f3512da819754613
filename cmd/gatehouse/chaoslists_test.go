package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// listWatch fetches the revocation lists of all gateways all the time and compares them with those before (invariant 14).
type listWatch struct {
	c      *chaos
	issuer *x509.Certificate

	mu     sync.Mutex
	newest []*x509.RevocationList // by gateway
	sums   map[string][32]byte    // of each number that was seen
	first  map[string]*big.Int    // the lowest number of a list that has the serial
}

// newListWatch watches until the test ends.
func newListWatch(c *chaos) *listWatch {
	h, err := testca.Load(filepath.Join(c.gateways[0].data, "throw-away-ca"))
	must(c.t, err)
	l := &listWatch{
		c: c, issuer: h.Intermediate.Certificate, newest: make([]*x509.RevocationList, len(c.gateways)),
		sums: map[string][32]byte{}, first: map[string]*big.Int{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for k, m := range c.gateways {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, der, err := lookAt(ctx, "http://"+m.plain+"/crl/dev/0.crl"); err == nil {
					l.see(k, der)
				}
				idle(ctx, 250*time.Millisecond)
			}
		})
	}
	c.t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

// see judges a list that a gateway served.
func (l *listWatch) see(gateway int, der []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.c.t
	before := l.newest[gateway]
	if before != nil && bytes.Equal(before.Raw, der) {
		return
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Errorf("invariant 14: gateway %d serves a list that does not parse: %v", gateway, err)
		return
	}
	l.newest[gateway] = list
	number := list.Number.String()
	if before != nil && (list.Number.Cmp(before.Number) < 0 || list.ThisUpdate.Before(before.ThisUpdate)) {
		t.Errorf("invariant 14: gateway %d served list %s of %s and then %s of %s", gateway, before.Number, before.ThisUpdate, number, list.ThisUpdate)
	}
	sum := sha256.Sum256(der)
	if other, known := l.sums[number]; known && other != sum {
		t.Errorf("invariant 14: gateway %d serves a list %s that is not the list %s that was served before", gateway, number, number)
	} else if known {
		return // it was judged when it was first seen
	}
	l.sums[number] = sum
	if err := list.CheckSignatureFrom(l.issuer); err != nil {
		t.Errorf("invariant 14: list %s: %v", number, err)
	}
	l.compare(gateway, list)
}

// compare looks for entries that left: nothing expires while the test runs.
func (l *listWatch) compare(gateway int, list *x509.RevocationList) {
	here := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		serial := e.SerialNumber.Text(16)
		here[serial] = true
		if first := l.first[serial]; first == nil || list.Number.Cmp(first) < 0 {
			l.first[serial] = list.Number
		}
	}
	missing := 0
	var example string
	for serial, first := range l.first {
		if first.Cmp(list.Number) < 0 && !here[serial] {
			missing++
			example = fmt.Sprintf("%s, which list %s had", serial, first)
		}
	}
	if missing > 0 {
		l.c.t.Errorf("invariant 14: list %s of %s, served by gateway %d with %d entries, lacks %d that a list before it had: %s",
			list.Number, list.ThisUpdate.Format(time.TimeOnly), gateway, len(here), missing, example)
	}
}

// String says how far the lists have come.
func (l *listWatch) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d lists seen, %d serials on them", len(l.sums), len(l.first))
}

// caughtUp waits until all gateways serve a list that is no older than the newest one now.
func (l *listWatch) caughtUp(ctx context.Context) {
	l.c.t.Helper()
	newest := new(big.Int)
	l.mu.Lock()
	for _, list := range l.newest {
		if list != nil && list.Number.Cmp(newest) > 0 {
			newest = list.Number
		}
	}
	l.mu.Unlock()
	for {
		behind := -1
		l.mu.Lock()
		for k, list := range l.newest {
			if list == nil || list.Number.Cmp(newest) < 0 {
				behind = k
			}
		}
		l.mu.Unlock()
		if behind < 0 {
			return
		}
		idle(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			l.c.t.Errorf("invariant 25: gateway %d does not come to serve list %s", behind, newest)
			return
		}
	}
}
