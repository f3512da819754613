package testca

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// HierarchyConfig says how a throw-away hierarchy looks. The zero value is usable.
type HierarchyConfig struct {
	Name     string           // prefix of both common names; default "Gatehouse Throw-away"
	Key      KeyType          // of root and intermediate; default P256
	Lifetime time.Duration    // of the root; the intermediate lives half as long; default ten years
	Now      func() time.Time // default time.Now
}

// Authority is a certificate and the key it certifies.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Hierarchy is a root that signed one intermediate. It is immutable and safe for concurrent use.
type Hierarchy struct {
	Root, Intermediate Authority
	now                func() time.Time
}

// NewHierarchy makes a root and an intermediate with new keys.
func NewHierarchy(cfg HierarchyConfig) (*Hierarchy, error) {
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	name := cmp.Or(cfg.Name, "Gatehouse Throw-away")
	life := cmp.Or(cfg.Lifetime, 10*365*24*time.Hour)
	rootKey, err := NewKey(cfg.Key)
	if err != nil {
		return nil, err
	}
	midKey, err := NewKey(cfg.Key)
	if err != nil {
		return nil, err
	}
	// An hour back, so that a peer whose clock is a little behind accepts the certificates.
	start := now().UTC().Truncate(time.Second).Add(-time.Hour)
	rootTmpl := authorityTemplate(name+" Root", 1, start, life)
	root, err := sign(rootTmpl, rootTmpl, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("testca: root: %w", err)
	}
	mid, err := sign(authorityTemplate(name+" Intermediate", 0, start, life/2), root, midKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("testca: intermediate: %w", err)
	}
	return &Hierarchy{Root: Authority{root, rootKey}, Intermediate: Authority{mid, midKey}, now: now}, nil
}

// authorityTemplate is a CA certificate after RFC 5280, 4.2.1.3 and 4.2.1.9. The key identifiers (4.2.1.1, 4.2.1.2) are
// filled in by x509.CreateCertificate.
func authorityTemplate(name string, pathLen int, start time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Gatehouse test"}},
		NotBefore:             start,
		NotAfter:              start.Add(life - time.Second), // notAfter is inclusive (RFC 5280, 4.1.2.5)
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            pathLen,
		MaxPathLenZero:        pathLen == 0,
	}
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	var octets [16]byte
	if _, err := rand.Read(octets[:]); err != nil {
		return nil, err
	}
	octets[0] = octets[0]&0x7f | 0x40 // positive and always sixteen octets (RFC 5280, 4.1.2.2)
	tmpl.SerialNumber = new(big.Int).SetBytes(octets[:])
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Leaf makes a server certificate for names (DNS names or IP addresses), signed by the intermediate, with a new P-256
// key and 24 hours of life. Its chain includes the intermediate.
func (h *Hierarchy) Leaf(names ...string) (tls.Certificate, error) {
	key, err := NewKey(P256)
	if err != nil {
		return tls.Certificate{}, err
	}
	start := h.now().UTC().Truncate(time.Second).Add(-time.Minute)
	tmpl := &x509.Certificate{
		NotBefore:             start,
		NotAfter:              start.Add(24*time.Hour - time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	tmpl.DNSNames, tmpl.IPAddresses = splitNames(names)
	leaf, err := sign(tmpl, h.Intermediate.Certificate, key.Public(), h.Intermediate.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("testca: leaf: %w", err)
	}
	return tls.Certificate{
		Certificate: [][]byte{leaf.Raw, h.Intermediate.Certificate.Raw}, PrivateKey: key, Leaf: leaf,
	}, nil
}

// Pool holds the root, for verification.
func (h *Hierarchy) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.Root.Certificate)
	return pool
}

// Chain is what a relying party needs between a leaf and its trusted root: the intermediate, without the root.
func (h *Hierarchy) Chain() []*x509.Certificate {
	return []*x509.Certificate{h.Intermediate.Certificate}
}

// CertificatePEM encodes certificates in the order given.
func CertificatePEM(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		// Writing to a bytes.Buffer does not fail.
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return out.Bytes()
}

// KeyPEM encodes a private key as unencrypted PKCS #8 (RFC 5958).
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("testca: key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Files are the paths that [Hierarchy.Write] wrote.
type Files struct {
	Root  string // the root certificate, PEM
	Chain string // issuer certificates from the intermediate upwards, without the root, PEM
	Key   string // the intermediate's private key, PKCS #8 PEM, mode 0600
}

// Write puts the hierarchy into dir, which is made with mode 0700 if it is absent. The root's key is not written: a
// throw-away root signs once. Files that exist are an error, never overwritten.
func (h *Hierarchy) Write(dir string) (Files, error) {
	f := Files{
		Root:  filepath.Join(dir, "root.pem"),
		Chain: filepath.Join(dir, "issuer.pem"),
		Key:   filepath.Join(dir, "issuer.key"),
	}
	key, err := KeyPEM(h.Intermediate.Key)
	if err != nil {
		return Files{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Files{}, err
	}
	for _, file := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{
		{f.Key, key, 0o600},
		{f.Chain, CertificatePEM(h.Chain()...), 0o644},
		{f.Root, CertificatePEM(h.Root.Certificate), 0o644},
	} {
		if err := writeNew(file.path, file.data, file.mode); err != nil {
			return Files{}, err
		}
	}
	return f, nil
}

func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
