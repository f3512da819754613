//go:build cgo && !nopkcs11

package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"go.step.sm/crypto/kms/apiv1"
	kmspkcs11 "go.step.sm/crypto/kms/pkcs11"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// softHSM is a token in a folder that is removed with the test.
type softHSM struct {
	t         *testing.T
	module    string
	util      string
	pinSource string
}

const (
	softPIN   = "4711-0815"
	softSOPIN = "12345678"
)

// newSoftHSM initialises a token labelled "gatehouse". The test is skipped where SoftHSM 2 is not installed.
func newSoftHSM(t *testing.T) *softHSM {
	t.Helper()
	h := &softHSM{t: t}
	var err error
	h.util, err = exec.LookPath("softhsm2-util")
	for _, path := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
	} {
		if _, absent := os.Stat(path); absent == nil {
			h.module = path
			break
		}
	}
	if err != nil || h.module == "" {
		testneed.Missing(t, "softhsm2", errors.Join(err, errors.New("softhsm2-util and its module are needed")))
	}
	dir := t.TempDir()
	tokens, conf := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	h.initialise("--free")
	h.pinSource = filepath.Join(dir, "pin")
	if err := os.WriteFile(h.pinSource, []byte(softPIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// initialise makes the token anew, from another process; place says in which slot.
func (h *softHSM) initialise(place ...string) {
	h.t.Helper()
	args := append([]string{"--init-token", "--label", "gatehouse", "--pin", softPIN, "--so-pin", softSOPIN}, place...)
	if out, err := exec.CommandContext(h.t.Context(), h.util, args...).CombinedOutput(); err != nil {
		h.t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
}

// generate makes key pairs on the token, named "rsa" and so on.
func (h *softHSM) generate(names ...string) {
	h.t.Helper()
	k, err := kmspkcs11.New(h.t.Context(), apiv1.Options{URI: "pkcs11:module-path=" + h.module + ";token=gatehouse", Pin: softPIN})
	if err != nil {
		h.t.Fatal(err)
	}
	for n, name := range names {
		algorithm, ok := map[string]apiv1.SignatureAlgorithm{
			"rsa2048": apiv1.SHA256WithRSA, "p256": apiv1.ECDSAWithSHA256, "p384": apiv1.ECDSAWithSHA384, "p521": apiv1.ECDSAWithSHA512,
		}[name]
		if !ok {
			h.t.Fatalf("no key type %q", name)
		}
		if _, err := k.CreateKey(&apiv1.CreateKeyRequest{
			Name: fmt.Sprintf("pkcs11:id=0x%02x;object=%s", n+1, name), SignatureAlgorithm: algorithm, Bits: 2048,
		}); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *softHSM) uri(object string) string {
	return "pkcs11:token=gatehouse;object=" + object + "?module-path=" + h.module + "&pin-source=file:" + h.pinSource
}

// open opens keys and closes them with the test.
func (h *softHSM) open(names ...string) []crypto.Signer {
	h.t.Helper()
	keys := new(Keys)
	h.t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			h.t.Error(err)
		}
	})
	var out []crypto.Signer
	for _, name := range names {
		k, err := keys.Open(h.uri(name))
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, k)
	}
	return out
}

// Certificates and lists that a token signs are what OpenSSL takes for good, for RSA and for each curve.
func TestSoftHSMIssues(t *testing.T) {
	h := newSoftHSM(t)
	testneed.Programs(t, "openssl")
	kinds := []string{"rsa2048", "p256", "p384", "p521"}
	h.generate(kinds...)
	for n, k := range h.open(kinds...) {
		t.Run(kinds[n], func(t *testing.T) {
			w := keyOnly(t, k)
			c := w.issue(t, "www.example.com")
			crl, err := w.authority.SignCRL(t.Context(), crlRequest(CRLEntry{Serial: c.Serial, At: time.Now(), Reason: KeyCompromise}))
			if err != nil {
				t.Fatal(err)
			}
			chain := w.config.Issuers[0].Chain
			mid := writeFile(t, testca.CertificatePEM(chain[0]), 0o600)
			root := writeFile(t, testca.CertificatePEM(chain[1]), 0o600)
			leaf := writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER}), 0o600)
			list := writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}), 0o600)
			for says, args := range map[string][]string{
				"OK":        {"verify", "-x509_strict", "-CAfile", root, "-untrusted", mid, leaf},
				"verify OK": {"crl", "-noout", "-CAfile", mid, "-in", list},
			} {
				out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), says) {
					t.Errorf("openssl %v: %v\n%s", args, err, out)
				}
			}
		})
	}
}

// What is wrong at the start is said in one line.
func TestSoftHSMErrorsAtStart(t *testing.T) {
	h := newSoftHSM(t)
	h.generate("p256")
	wrong := writeFile(t, []byte("0000"), 0o600)
	for _, tt := range []struct{ name, uri, says string }{
		{"no such token", strings.Replace(h.uri("p256"), "token=gatehouse", "token=other", 1), `token token="other": the module ` + h.module + " has no such token"},
		{"no such serial", strings.Replace(h.uri("p256"), "token=gatehouse", "serial=ffff", 1), "has no such token"},
		{"wrong PIN", strings.Replace(h.uri("p256"), "file:"+h.pinSource, wrong, 1), "refuses the PIN of pin-source=" + wrong},
		{"no PIN", strings.Replace(h.uri("p256"), "&pin-source=file:"+h.pinSource, "", 1), "needs pin-source"},
		{"no such key", h.uri("other"), `it has no key pair object="other"`},
		{"no such id", strings.Replace(h.uri("p256"), "object=p256", "object=p256;id=%09", 1), `it has no key pair object="p256" id=09`},
		{"one session", h.uri("p256") + "&max-sessions=1", "MaxSessions"},
		{"sessions not a number", h.uri("p256") + "&max-sessions=many", "max-sessions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signer, _, err := OpenKey(tt.uri)
			if signer != nil || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want it to say %q", err, tt.says)
			}
			if text := err.Error(); strings.ContainsAny(text, "\n") || strings.Contains(text, softPIN) {
				t.Errorf("not one line without secrets: %s", text)
			}
		})
	}
	t.Run("key and certificate", func(t *testing.T) {
		other := selfMade(t, newKey(t, "p256"))
		k := h.open("p256")[0]
		b, err := NewSoftCAS(other, k)
		if err == nil {
			err = CheckIssuer(Issuer{Name: "main", Chain: other, Backend: b}, time.Now())
		}
		if err == nil || !strings.Contains(err.Error(), "the back end's key does not belong to the certificate") {
			t.Error(err)
		}
	})
	// And with everything right, by label and by id.
	for _, uri := range []string{h.uri("p256"), strings.Replace(h.uri("p256"), "object=p256", "id=%01;type=private", 1) + "&max-sessions=4"} {
		signer, closer, err := OpenKey(uri)
		if err != nil {
			t.Fatal(err)
		}
		if err := try(signer.(*tokenKey)); err != nil {
			t.Error(err)
		}
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
		if err := try(signer.(*tokenKey)); err == nil {
			t.Error("a closed key signs")
		}
	}
}

// ready waits until a key can or cannot sign.
func ready(t *testing.T, k crypto.Signer, holds func(err error) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := k.(*tokenKey).Ready()
		if holds(err) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still: %v", err)
		case <-tick.C:
		}
	}
}

// slot finds the token's slot, through a second handle of the module that this process has loaded.
func (h *softHSM) slot() (*pkcs11.Ctx, uint) {
	h.t.Helper()
	c := pkcs11.New(h.module)
	slots, err := c.GetSlotList(true)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, slot := range slots {
		if info, err := c.GetTokenInfo(slot); err == nil && info.Label == "gatehouse" {
			return c, slot
		}
	}
	h.t.Fatal("the token is gone")
	return nil, 0
}

// Lost sessions make requests wait, not fail for good: both keys of the token serve again by themselves.
func TestSoftHSMSessionsLost(t *testing.T) {
	h := newSoftHSM(t)
	h.generate("p256", "rsa2048")
	keys := h.open("p256", "rsa2048")
	first, second := keyOnly(t, keys[0]), keyOnly(t, keys[1])
	first.issue(t)
	second.issue(t)
	c, slot := h.slot()
	if err := c.CloseAllSessions(slot); err != nil {
		t.Fatal(err)
	}
	_, err := first.authority.Issue(t.Context(), first.request(t))
	if !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
		t.Errorf("got %v", err)
	}
	for n, w := range []*world{first, second} {
		ready(t, keys[n], func(err error) bool { return err == nil })
		w.issue(t)
		if _, err := w.authority.SignCRL(t.Context(), crlRequest()); err != nil {
			t.Error(err)
		}
	}
}

// A token that is initialised anew under a running gateway has lost its key: requests are refused, and told so.
func TestSoftHSMInitialisedAnew(t *testing.T) {
	h := newSoftHSM(t)
	h.generate("p256")
	k := h.open("p256")[0]
	w := keyOnly(t, k)
	w.issue(t)
	_, slot := h.slot()
	h.initialise("--slot", fmt.Sprint(slot))
	for range 2 {
		if _, err := w.authority.Issue(t.Context(), w.request(t)); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
	}
	ready(t, k, func(err error) bool { return err != nil && strings.Contains(err.Error(), "it has no key pair") })
	if issued := slices.DeleteFunc(w.store.all(), func(c Certificate) bool { return c.State != Issued }); len(issued) != 1 {
		t.Errorf("%d certificates", len(issued))
	}
}

// Two issuers on one token: while every signature of one hangs, the other issues.
func TestSoftHSMHungKeyDelaysNobodyElse(t *testing.T) {
	h := newSoftHSM(t)
	h.generate("p256", "p384")
	keys := h.open("p256", "p384")
	hung := &hanging{Signer: keys[0], started: make(chan struct{}, 1), release: make(chan struct{})}
	chain, other := selfMade(t, hung), selfMadeAs(t, "Throw-away Other Issuer", keys[1])
	b, err := NewSoftCAS(other, keys[1])
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(w *world) {
		main := &w.config.Issuers[0]
		main.MaxConcurrent, main.SignTimeout, main.Chain = 1, MaxSignTimeout, chain
		if main.Backend, err = NewSoftCAS(chain, hung); err != nil {
			t.Fatal(err)
		}
		w.config.Issuers = append(w.config.Issuers, Issuer{
			Name: "other", Chain: other, Backend: b, Alternates: [][]*x509.Certificate{crossSigned(t, other[0])},
		})
	})
	done := make(chan error, 1)
	req := w.request(t)
	go func() { _, err := w.authority.Issue(context.Background(), req); done <- err }()
	<-hung.started
	second := newProfile(t, func(c *policy.Config) { c.Name, c.Issuer = "second", "other" })
	for range 3 {
		req := w.request(t)
		req.Profile, req.Policy.ProfileHash = second, second.Hash()
		c, err := w.authority.Issue(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(c.DER)
		if err = errors.Join(err, cert.CheckSignatureFrom(other[0])); err != nil {
			t.Error(err)
		}
	}
	close(hung.release)
	if err := <-done; err != nil { // it came back within its deadline
		t.Error(err)
	}
}

// hanging is a signer whose signatures wait.
type hanging struct {
	crypto.Signer
	started, release chan struct{}
}

func (s *hanging) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	select {
	case s.started <- struct{}{}:
	default:
	}
	<-s.release
	return s.Signer.Sign(r, digest, opts)
}
