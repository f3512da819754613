package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
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

func (f *floor) headers(w http.ResponseWriter) http.Header {
	h := w.Header()
	h.Set("Replay-Nonce", f.nonce())
	h.Set("Cache-Control", "no-store")
	h.Add("Link", `<`+f.base+`/acme/directory>;rel="index"`)
	return h
}

func (f *floor) answer(w http.ResponseWriter, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	f.headers(w).Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}

func (f *floor) newAccount(w http.ResponseWriter, r *floorRequest) error {
	url := f.base + "/acme/r/account/" + r.key.Thumbprint()
	f.mu.Lock()
	f.accounts[url] = r.key
	f.mu.Unlock()
	w.Header().Set("Location", url)
	return f.answer(w, http.StatusCreated, map[string]string{"status": "valid"})
}

type floorIdentifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type floorOrder struct {
	Status         string            `json:"status"`
	Expires        string            `json:"expires"`
	Identifiers    []floorIdentifier `json:"identifiers"`
	Authorizations []string          `json:"authorizations"`
	Finalize       string            `json:"finalize"`
	Certificate    string            `json:"certificate,omitempty"`
}

func floorID() string {
	var b [16]byte
	rand.Read(b[:])
	return encode64(b[:])
}

func floorExpiry() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

// newOrder puts all it would have to remember into URLs: an authorization's id is its token and its name.
func (f *floor) newOrder(w http.ResponseWriter, r *floorRequest) error {
	order := &floorOrder{Status: "pending", Expires: floorExpiry()}
	if err := jws.DecodeStrict(r.payload, order); err != nil {
		return err
	}
	for _, id := range order.Identifiers {
		order.Authorizations = append(order.Authorizations, f.base+"/acme/r/authz/"+floorID()+"."+id.Value)
	}
	url := f.base + "/acme/r/order/" + floorID()
	order.Finalize = url + "/finalize"
	w.Header().Set("Location", url)
	return f.answer(w, http.StatusCreated, order)
}

type floorChallenge struct {
	Type      string `json:"type"`
	URL       string `json:"url"`
	Status    string `json:"status"`
	Token     string `json:"token"`
	Validated string `json:"validated,omitempty"`
}

func (f *floor) authorization(w http.ResponseWriter, r *floorRequest) error {
	id := r.PathValue("id")
	token, name, _ := strings.Cut(id, ".")
	return f.answer(w, http.StatusOK, &struct {
		Status     string            `json:"status"`
		Expires    string            `json:"expires"`
		Identifier floorIdentifier   `json:"identifier"`
		Challenges []*floorChallenge `json:"challenges"`
	}{"pending", floorExpiry(), floorIdentifier{"dns", name}, []*floorChallenge{
		{Type: "http-01", URL: f.base + "/acme/r/challenge/" + id, Status: "pending", Token: token},
	}})
}

func (f *floor) challenge(w http.ResponseWriter, r *floorRequest) error {
	token, name, _ := strings.Cut(r.PathValue("id"), ".")
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+name+challengePath+token, nil)
	if err != nil {
		return err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	if string(body) != r.key.KeyAuthorization(token) { // RFC 8555, 8.3
		return errors.New("the key authorization is wrong")
	}
	return f.answer(w, http.StatusOK, &floorChallenge{
		Type: "http-01", URL: f.base + r.URL.Path, Status: "valid", Token: token, Validated: time.Now().UTC().Format(time.RFC3339),
	})
}

func (f *floor) finalize(w http.ResponseWriter, r *floorRequest) error {
	var in struct {
		CSR string `json:"csr"`
	}
	if err := jws.DecodeStrict(r.payload, &in); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(in.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	if err := csr.CheckSignature(); err != nil {
		return err
	}
	cert, err := f.sign(csr)
	if err != nil {
		return err
	}
	id := floorID()
	f.issued.Store(id, cert)
	order := &floorOrder{
		Status: "valid", Expires: floorExpiry(), Finalize: f.base + r.URL.Path, Certificate: f.base + "/acme/r/certificate/" + id,
	}
	for _, name := range csr.DNSNames {
		order.Identifiers = append(order.Identifiers, floorIdentifier{"dns", name})
		order.Authorizations = append(order.Authorizations, f.base+"/acme/r/authz/"+floorID()+"."+name)
	}
	return f.answer(w, http.StatusOK, order)
}

// sign makes a certificate with the extensions that a gateway's has.
func (f *floor) sign(csr *x509.CertificateRequest) ([]byte, error) {
	if len(csr.DNSNames) == 0 {
		return nil, errors.New("the CSR has no names")
	}
	var serial [16]byte
	rand.Read(serial[:])
	serial[0] &= 0x7f
	now := time.Now().UTC()
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{CommonName: csr.DNSNames[0]}, DNSNames: csr.DNSNames,
		NotBefore: now, NotAfter: now.Add(24 * time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CRLDistributionPoints: []string{f.base + "/crl/floor.crl"}, IssuingCertificateURL: []string{f.base + "/issuer/floor.crt"},
	}, f.issuer, csr.PublicKey, f.signer)
}

func (f *floor) certificate(w http.ResponseWriter, r *floorRequest) error {
	der, ok := f.issued.LoadAndDelete(r.PathValue("id"))
	if !ok {
		return errors.New("there is no such certificate")
	}
	var body bytes.Buffer
	if err := pem.Encode(&body, &pem.Block{Type: "CERTIFICATE", Bytes: der.([]byte)}); err != nil {
		return err
	}
	body.Write(f.chain)
	f.headers(w).Set("Content-Type", "application/pem-certificate-chain")
	_, err := w.Write(body.Bytes())
	return err
}
