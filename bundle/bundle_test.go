package bundle

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestNewChainRefuses(t *testing.T) {
	h := hierarchy()
	other, err := testca.NewHierarchy(testca.HierarchyConfig{}) // the same names, other keys
	if err != nil {
		t.Fatal(err)
	}
	leaf := sign(t, leafTemplate("www.example.com"), keys()["p-256"], &h.Intermediate).Raw
	mid, root := h.Intermediate.Certificate.Raw, h.Root.Certificate.Raw
	endEntity := &testca.Authority{Certificate: sign(t, leafTemplate("ca.example.com"), keys()["p-384"], &h.Intermediate), Key: keys()["p-384"]}
	below := sign(t, leafTemplate("www.example.com"), keys()["p-256"], endEntity).Raw

	renamed := *h.Intermediate.Certificate
	renamed.Subject.CommonName, renamed.RawSubject = "Another Name", nil
	sameKey := sign(t, &renamed, h.Intermediate.Key, &h.Root).Raw

	for _, tt := range []struct {
		name    string
		leaf    []byte
		issuers [][]byte
		kind    problem.Kind
		field   string
	}{
		{"no leaf", nil, nil, problem.Malformed, "certificate is empty"},
		{"no DER", []byte("-----BEGIN CERTIFICATE-----"), nil, problem.Malformed, "certificate cannot be parsed"},
		{"something after it", append(bytes.Clone(leaf), 0), nil, problem.Malformed, "certificate cannot be parsed"},
		{"long leaf", make([]byte, MaxCertificate+1), nil, problem.TooLarge, "certificate has"},
		{"empty issuer", leaf, [][]byte{mid, nil}, problem.Malformed, "issuer 2 is empty"},
		{"broken issuer", leaf, [][]byte{mid[:len(mid)-1]}, problem.Malformed, "issuer 1 cannot be parsed"},
		{"too many issuers", leaf, slices.Repeat([][]byte{mid}, MaxIssuers+1), problem.TooLarge, "the chain has 11 issuers"},
		{"root first", leaf, [][]byte{root, mid}, problem.Malformed, "issuer 1 did not issue certificate"},
		{"a link missing", leaf, [][]byte{root}, problem.Malformed, "issuer 1 did not issue certificate"},
		{"issuer's name, another's key", leaf, [][]byte{other.Intermediate.Certificate.Raw}, problem.Malformed, "issuer 1 did not issue certificate"},
		{"root's name, another's key", leaf, [][]byte{mid, other.Root.Certificate.Raw}, problem.Malformed, "issuer 2 did not issue issuer 1"},
		{"issuer's key, another name", leaf, [][]byte{sameKey}, problem.Malformed, "issuer 1 did not issue certificate: its subject"},
		{"issuer is no CA", below, [][]byte{endEntity.Certificate.Raw}, problem.Malformed, "issuer 1 did not issue certificate"},
		{"root twice", leaf, [][]byte{mid, root, root}, problem.Malformed, "issuer 3 is in the chain twice"},
		{"leaf as its issuer", root, [][]byte{root}, problem.Malformed, "issuer 1 is in the chain twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewChain(tt.leaf, tt.issuers)
			refused(t, err, tt.kind, tt.field)
		})
	}
}

// TestHugeRSAKeys are refused before their owner's signature is verified with them.
func TestHugeRSAKeys(t *testing.T) {
	h := hierarchy()
	key := keys()["rsa-2048"]
	tmpl := leafTemplate("www.example.com")
	huge := sign(t, tmpl, hugeKey{key, new(big.Int).Lsh(big.NewInt(1), MaxRSA)}, &h.Intermediate)
	_, err := NewChain(huge.Raw, nil)
	refused(t, err, problem.TooLarge, "certificate has an RSA key of 16385 bits")
	most := sign(t, tmpl, hugeKey{key, new(big.Int).Lsh(big.NewInt(1), MaxRSA-1)}, &h.Intermediate)
	chainOf(t, most.Raw)
}

func TestChainCopiesWhatItIsGiven(t *testing.T) {
	leaf := golden(t, "leaf.der")
	c := chainOf(t, leaf)
	clear(leaf)
	out := encode(t, c, DER, Options{Content: Leaf})
	if !bytes.Equal(out, golden(t, "leaf.der")) {
		t.Fatal("the chain shares its caller's memory")
	}
	clear(out)
	if !bytes.Equal(encode(t, c, DER, Options{Content: Leaf}), golden(t, "leaf.der")) {
		t.Fatal("what was encoded shares the chain's memory")
	}
}

// TestRolloverIsNoRoot: a CA's new key under its old name is certified by the old one, and is no root.
func TestRolloverIsNoRoot(t *testing.T) {
	h := hierarchy()
	tmpl := *h.Root.Certificate
	tmpl.SerialNumber = big.NewInt(7)
	tmpl.SubjectKeyId, tmpl.AuthorityKeyId = nil, nil
	tmpl.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	rolled := testca.Authority{Certificate: sign(t, &tmpl, keys()["p-384"], &h.Root), Key: keys()["p-384"]}
	leaf := sign(t, leafTemplate("www.example.com"), keys()["p-256"], &rolled)

	c := chainOf(t, leaf.Raw, rolled.Certificate.Raw)
	if c.hasRoot {
		t.Error("a self-issued certificate is taken for a root")
	}
	c = chainOf(t, leaf.Raw, rolled.Certificate.Raw, h.Root.Certificate.Raw)
	got := encode(t, c, PEM, Options{Content: Issuers, OmitRoot: true})
	if !bytes.Equal(got, testca.CertificatePEM(rolled.Certificate)) {
		t.Errorf("without the root there is\n%s", got)
	}
}

// TestOldRoot: a root that signed itself with SHA-1 is one all the same, but a SHA-1 signature on anything below it counts for nothing.
func TestOldRoot(t *testing.T) {
	old := *hierarchy().Root.Certificate
	old.SignatureAlgorithm = x509.MD5WithRSA
	if !isRoot(&old) {
		t.Error("a root signed with MD5 is taken for none")
	}
	old.SignatureAlgorithm = x509.ECDSAWithSHA1
	if isRoot(&old) {
		t.Error("a root whose SHA-1 signature is wrong is taken for one")
	}
	digest := sha1.Sum(old.RawTBSCertificate)
	var err error
	if old.Signature, err = hierarchy().Root.Key.Sign(rand.Reader, digest[:], crypto.SHA1); err != nil {
		t.Fatal(err)
	}
	if !isRoot(&old) {
		t.Error("a root signed with SHA-1 is taken for none")
	}
	forged := *hierarchy().Root.Certificate
	forged.Signature = make([]byte, 64)
	if _, err := rand.Read(forged.Signature); err != nil {
		t.Fatal(err)
	}
	if isRoot(&forged) {
		t.Error("a root with a wrong signature is taken for one")
	}
	mid := *hierarchy().Intermediate.Certificate
	mid.SignatureAlgorithm = x509.ECDSAWithSHA1
	digest = sha1.Sum(mid.RawTBSCertificate)
	if mid.Signature, err = hierarchy().Root.Key.Sign(rand.Reader, digest[:], crypto.SHA1); err != nil {
		t.Fatal(err)
	}
	refused(t, certified("issuer 1", &mid, "issuer 2", hierarchy().Root.Certificate), problem.Malformed, "issuer 2 did not issue issuer 1")
}
