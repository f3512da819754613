package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// autocertSite is a web server whose certificates come from golang.org/x/crypto/acme/autocert, on the ports that
// validations contact.
type autocertSite struct {
	*autocert.Manager
	i *instance
}

func newAutocert(i *instance, cache autocert.Cache, transport http.RoundTripper, names ...string) *autocertSite {
	i.t.Helper()
	client := i.client()
	if transport != nil {
		client.Transport = transport
	}
	return &autocertSite{&autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: cache, HostPolicy: autocert.HostWhitelist(names...), Email: "admin@example.com",
		Client: &acme.Client{DirectoryURL: i.directory, HTTPClient: client},
	}, i}
}

// listenTLS serves on the port that tls-alpn-01 validations contact.
func (s *autocertSite) listenTLS(t *testing.T, cfg *tls.Config) {
	t.Helper()
	l, err := tls.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.i.alpn01), cfg)
	must(t, err)
	serve(t, &http.Server{Handler: http.NotFoundHandler()}, l)
}

// listenHTTP serves on the port that http-01 validations contact. From then on autocert uses that method, too. It knows
// hosts without a port alone, as they come to port 80.
func (s *autocertSite) listenHTTP(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.i.http01))
	must(t, err)
	answers := s.HTTPHandler(nil)
	serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host, _, _ = strings.Cut(r.Host, ":")
		answers.ServeHTTP(w, r)
	})}, l)
}

// serve runs a web server until the test ends.
func serve(t *testing.T, server *http.Server, l net.Listener) {
	server.ErrorLog = log.New(io.Discard, "", 0)
	var done sync.WaitGroup
	done.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		done.Wait()
	})
}

// visit is what a browser that trusts the gateway's root is shown for a name. An old one knows TLS 1.2 and RSA alone.
func (s *autocertSite) visit(name string, old bool) (*x509.Certificate, error) {
	cfg := &tls.Config{RootCAs: s.i.roots(), ServerName: name}
	if old {
		cfg.MaxVersion, cfg.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.i.alpn01), cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// TestAutocert has certificates made in the handshakes of the first visitors: the gateway comes for tls-alpn-01 to the very
// port that the visitor waits at.
func TestAutocert(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	s := newAutocert(i, autocert.DirCache(t.TempDir()), nil, "one.example.com", "two.example.com")
	s.listenTLS(t, s.TLSConfig())
	leaf, err := s.visit("one.example.com", false)
	must(t, err)
	if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("a visitor of today is shown a %T", leaf.PublicKey)
	}
	if again, err := s.visit("one.example.com", false); err != nil || !again.Equal(leaf) {
		t.Errorf("the second visitor is shown another certificate, or %v", err)
	}
	old, err := s.visit("one.example.com", true)
	must(t, err)
	if _, ok := old.PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("a visitor of yesterday is shown a %T", old.PublicKey)
	}
	_, err = s.visit("two.example.com", false)
	must(t, err)
	if _, err := s.visit("three.example.com", false); err == nil {
		t.Error("a certificate for a name that the site does not have")
	}
	if list := i.certList(); len(list) != 3 {
		t.Errorf("the inventory has %+v", list)
	}
}

// TestAutocertByHTTP is a site behind something that ends acme-tls/1, or does not know it: autocert sees tls-alpn-01 fail, and
// makes another order for http-01.
func TestAutocertByHTTP(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	s := newAutocert(i, nil, nil, "one.example.com", "two.example.com")
	s.listenTLS(t, &tls.Config{GetCertificate: s.GetCertificate, NextProtos: []string{"http/1.1"}})
	if _, err := s.visit("one.example.com", false); err == nil {
		t.Fatal("a certificate without any proof")
	}
	s.listenHTTP(t)
	_, err := s.visit("two.example.com", false)
	must(t, err)
}

// toldCache keeps what autocert keeps in a folder otherwise, and tells of each certificate before it says that it is kept.
type toldCache struct {
	autocert.Cache
	kept func()
}

func (c toldCache) Put(ctx context.Context, key string, value []byte) error {
	if err := c.Cache.Put(ctx, key, value); err != nil {
		return err
	}
	if !strings.Contains(key, "+token") && !strings.Contains(key, "acme_account") {
		c.kept()
	}
	return nil
}

// gate is a way to the gateway that can be shut.
type gate struct {
	http.RoundTripper
	shut atomic.Bool
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.shut.Load() {
		return nil, errors.New("the gate is shut")
	}
	return g.RoundTripper.RoundTrip(r)
}

// TestAutocertRenews starts the site again with a margin that every certificate here is in, so that autocert renews at once.
// It would go on without a pause, which no certificate's life is meant for: the way is shut after the first.
func TestAutocertRenews(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	folder := autocert.DirCache(t.TempDir())
	s := newAutocert(i, folder, nil, "one.example.com")
	s.listenTLS(t, s.TLSConfig())
	first, err := s.visit("one.example.com", false)
	must(t, err)

	way := &gate{RoundTripper: i.client().Transport}
	s = newAutocert(i, toldCache{folder, func() { way.shut.Store(true) }}, way, "one.example.com")
	s.RenewBefore = 25 * time.Hour
	i.alpn01 = freePort(t)
	s.listenTLS(t, s.TLSConfig())
	for {
		leaf, err := s.visit("one.example.com", false)
		must(t, err)
		if !leaf.Equal(first) {
			break
		}
		if !pause(t.Context()) {
			t.Fatal("autocert did not renew")
		}
	}
	if list := i.certList(); len(list) != 2 || !slices.Equal(list[0].Names, []string{"one.example.com"}) {
		t.Errorf("the inventory has %+v", list)
	}
}
