package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
)

// The floor's resources, with the answers that a gateway would give.

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
