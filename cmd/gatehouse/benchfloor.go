package main

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// The floor is what an ACME issuance costs at the very least with Go's net/http: the same requests and answers, the same
// cryptography (a nonce's MAC and a signature per request, the CSR's signature, one signature for the certificate) and one
// connection per validation. It keeps no state but accounts' keys and certificates not yet fetched, decides nothing,
// records nothing and lints nothing. What a gateway costs beyond it is what a gateway does.

const (
	floorNonceLife = 5 * time.Minute
	floorMaxBody   = 128 << 10
)

// floor is the server. It is safe for concurrent use.
type floor struct {
	base     string
	http     *http.Client // for validations
	nonceKey [32]byte
	issuer   *x509.Certificate
	signer   crypto.Signer
	chain    []byte // PEM of issuer

	mu       sync.RWMutex
	accounts map[string]*jws.PublicKey // by account URL

	issued sync.Map // certificates by the last part of their URL, until they are fetched
}

// runFloor serves the floor until ctx ends. All validations connect to http01, whatever the name.
func runFloor(ctx context.Context, listen, http01 string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	f, err := newFloor("http://"+l.Addr().String(), http01)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: f.handler(), ReadHeaderTimeout: benchTimeout}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newFloor(base, http01 string) (*floor, error) {
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	f := &floor{
		base: base, issuer: hierarchy.Intermediate.Certificate, signer: hierarchy.Intermediate.Key,
		chain:    testca.CertificatePEM(hierarchy.Intermediate.Certificate),
		accounts: map[string]*jws.PublicKey{},
		// Each validation asks another host in earnest, so no connection is used twice.
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, http01)
			},
		}},
	}
	rand.Read(f.nonceKey[:]) // never fails: crypto/rand aborts the process instead
	return f, nil
}

func (f *floor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /acme/directory", func(w http.ResponseWriter, r *http.Request) {
		f.answer(w, http.StatusOK, map[string]string{
			"newNonce": f.base + "/acme/r/new-nonce", "newAccount": f.base + "/acme/r/new-account", "newOrder": f.base + "/acme/r/new-order",
		})
	})
	mux.HandleFunc("HEAD /acme/r/new-nonce", func(w http.ResponseWriter, r *http.Request) { f.headers(w) })
	mux.HandleFunc("POST /acme/r/new-account", f.signed(f.newAccount))
	mux.HandleFunc("POST /acme/r/new-order", f.signed(f.newOrder))
	mux.HandleFunc("POST /acme/r/authz/{id}", f.signed(f.authorization))
	mux.HandleFunc("POST /acme/r/challenge/{id}", f.signed(f.challenge))
	mux.HandleFunc("POST /acme/r/order/{id}/finalize", f.signed(f.finalize))
	mux.HandleFunc("POST /acme/r/certificate/{id}", f.signed(f.certificate))
	return mux
}

// floorRequest is a request whose signature is verified.
type floorRequest struct {
	*http.Request
	key     *jws.PublicKey
	payload jws.Payload
}

// signed does what RFC 8555, 6 asks of every POST.
func (f *floor) signed(handle func(http.ResponseWriter, *floorRequest) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := &floorRequest{Request: r}
		err := f.verify(w, req)
		if err == nil {
			err = handle(w, req)
		}
		if err != nil {
			f.answer(w, http.StatusBadRequest, map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		}
	}
}

func (f *floor) verify(w http.ResponseWriter, r *floorRequest) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, floorMaxBody))
	if err != nil {
		return err
	}
	message, err := jws.Parse(body)
	if err != nil {
		return err
	}
	if message.URL() != f.base+r.URL.Path {
		return fmt.Errorf("the url is %s", message.URL())
	}
	if !f.genuine(message.Nonce()) {
		return errors.New("the nonce was not made here")
	}
	if r.key = message.Key(); r.key == nil {
		f.mu.RLock()
		r.key = f.accounts[message.KeyID()]
		f.mu.RUnlock()
		if r.key == nil {
			return errors.New("there is no such account")
		}
	}
	r.payload, err = message.Verify(r.key)
	return err
}

// nonce is an expiry, randomness and a MAC over both.
func (f *floor) nonce() string {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().Add(floorNonceLife).UnixMilli()))
	rand.Read(b[8:16])
	mac := f.mac(b[:16])
	copy(b[16:], mac[:])
	return encode64(b[:])
}

func (f *floor) genuine(nonce string) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 32 {
		return false
	}
	want := f.mac(b[:16])
	return hmac.Equal(want[:], b[16:]) && time.Now().UnixMilli() < int64(binary.BigEndian.Uint64(b))
}

// mac is the first half of the MAC over body.
func (f *floor) mac(body []byte) (mac [16]byte) {
	h := hmac.New(sha256.New, f.nonceKey[:])
	h.Write(body)
	var sum [sha256.Size]byte
	copy(mac[:], h.Sum(sum[:0]))
	return mac
}
