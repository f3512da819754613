package scm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// kinds tells the certificates of a PEM or PKCS #7 file by what they are: leaf or ca, in their order.
func kinds(t *testing.T, data []byte) string {
	t.Helper()
	list, err := bundle.Read(data)
	must(t, err)
	var words []string
	for _, der := range list {
		cert, err := x509.ParseCertificate(der)
		must(t, err)
		switch {
		case !cert.IsCA:
			words = append(words, "leaf")
		case bytes.Equal(cert.RawIssuer, cert.RawSubject):
			words = append(words, "root")
		default:
			words = append(words, "ca")
		}
	}
	return strings.Join(words, " ")
}

func TestCollect(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "tls", "a.example.com")
	for form, want := range map[string]string{
		"": "leaf ca", "base64": "leaf ca", "bin": "leaf ca", "x509": "ca leaf", "x509R": "leaf ca", "x509CO": "leaf", "x509IO": "ca", "x509IOR": "ca",
		"pem": "ca leaf", "pemco": "leaf", "pemia": "leaf ca", "PEMCO": "leaf",
	} {
		byQuery := w.call("aud", "GET", "/api/ssl/v1/collect/1?format="+form, "", 200)
		if n := byQuery.Header().Get("Content-Length"); n != strconv.Itoa(byQuery.Body.Len()) || n == "0" {
			t.Errorf("%s: Content-Length is %q", form, n)
		}
		if got := kinds(t, byQuery.Body.Bytes()); got != want {
			if !strings.HasPrefix(form, "b") && form != "" || len(got) != len(want) { // a PKCS #7 is a set
				t.Errorf("%s: the certificates are %q, not %q", form, got, want)
			}
		}
		if form == "" {
			continue
		}
		if byPath := w.call("aud", "GET", "/api/ssl/v2/collect/1/"+form, "", 200); !bytes.Equal(byPath.Body.Bytes(), byQuery.Body.Bytes()) {
			t.Errorf("%s: path and query differ", form)
		}
	}
	if block, rest := pem.Decode(w.call("rex", "GET", "/api/ssl/v2/collect/1", "", 200).Body.Bytes()); block == nil || block.Type != "PKCS7" || len(rest) > 0 {
		t.Errorf("base64 is %v", block)
	}
	w.goldens([]exchange{
		{"collect-base64", "rex", "GET", "/api/ssl/v2/collect/1", ""},
		{"collect-x509", "rex", "GET", "/api/ssl/v2/collect/1?format=x509", ""},
		{"collect-pemco", "rex", "GET", "/api/ssl/v2/collect/1/pemco", ""},
		{"collect-pkcs12", "rex", "GET", "/api/ssl/v2/collect/1/pkcs12", ""},
		{"collect-foreign", "olga", "GET", "/api/ssl/v2/collect/1", ""},
		{"collect-no-id", "rex", "GET", "/api/ssl/v2/collect/4711", ""},
		{"collect-odd-id", "rex", "GET", "/api/ssl/v2/collect/x", ""},
	})
	w.wait(91 * 24 * 3600e9)
	w.call("rex", "GET", "/api/ssl/v2/collect/1", "", 200) // expired
}

// TestCollectForms is the order of each form where there are two issuers, the upper a root, and where the root is all there is.
func TestCollectForms(t *testing.T) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	leaf, err := h.Leaf("a.example.com")
	must(t, err)
	want := map[string]string{
		"base64": "leaf ca root", "bin": "leaf ca root", "x509": "root ca leaf", "x509R": "leaf ca root", "x509CO": "leaf", "x509IO": "root ca",
		"x509IOR": "ca root", "pem": "root ca leaf", "pemco": "leaf", "pemia": "leaf ca",
	}
	for _, f := range collectForms {
		data, err := f.encode(leaf.Certificate[0], [][]byte{h.Intermediate.Certificate.Raw, h.Root.Certificate.Raw})
		must(t, err)
		if got := kinds(t, data); got != want[f.name] && f.format == bundle.PEM || len(got) != len(want[f.name]) { // a PKCS #7 is a set
			t.Errorf("%s: the certificates are %q, not %q", f.name, got, want[f.name])
		}
		data, err = f.encode(h.Intermediate.Certificate.Raw, [][]byte{h.Root.Certificate.Raw})
		must(t, err)
		if got := kinds(t, data); f.name == "pemia" && got != "ca root" {
			t.Errorf("pemia of two: %q", got)
		}
	}
}

func TestCollectBefore(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "approved", "a.example.com")
	w.issue("rex", "approved", "b.example.com")
	e := w.issue("rex", "tls", "c.example.com")
	_, err := w.Registrar.Decline(t.Context(), w.callers["may"], 2, "no")
	must(t, err)
	must(t, w.Registrar.Revoke(t.Context(), w.callers["ada"], ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.Superseded}))
	w.goldens([]exchange{
		{"collect-waiting", "rex", "GET", "/api/ssl/v2/collect/1", ""},
		{"collect-declined", "rex", "GET", "/api/ssl/v2/collect/2/x509", ""},
		{"collect-revoked", "rex", "GET", "/api/ssl/v2/collect/3?format=pem", ""},
	})
}

// TestCollectable: every status has an answer, and one that nobody knows is none to collect.
func TestCollectable(t *testing.T) {
	w := &Server{Config: Config{Processing: Processing}}
	for _, s := range statuses {
		want := codeNotCollectable
		switch s.label {
		case "Issued", "Expired":
			want = 1
		case "Requested", "Approved", "Applied", "Init":
			want = 0
		case "Revoked":
			want = codeRevoked
		}
		code := 1
		if err := w.collectable(s.status); err != nil {
			_, code = wire(err)
		}
		if code != want {
			t.Errorf("%s: code %d, not %d", s.label, code, want)
		}
	}
	if _, code := wire(w.collectable("new")); code != codeNotCollectable {
		t.Errorf("an unknown status has code %d", code)
	}
}

// TestCollectWithoutIssuer: a file that ought to have an issuer's certificate is refused.
func TestCollectWithoutIssuer(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "tls", "a.example.com")
	w.Chain = func(string) []byte { return nil }
	w.golden("collect-without-issuer", "rex", "GET", "/api/ssl/v2/collect/1", "")
	w.call("rex", "GET", "/api/ssl/v2/collect/1/x509CO", "", 200)
}
