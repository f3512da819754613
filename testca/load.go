package testca

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Load reads what [Hierarchy.Write] wrote into dir. The root's key is gone, so the root can sign nothing more. A folder
// without a hierarchy is an error for which errors.Is(err, os.ErrNotExist) holds.
func Load(dir string) (*Hierarchy, error) {
	root, err := loadCertificate(filepath.Join(dir, "root.pem"))
	if err != nil {
		return nil, err
	}
	mid, err := loadCertificate(filepath.Join(dir, "issuer.pem"))
	if err != nil {
		return nil, err
	}
	der, err := loadPEM(filepath.Join(dir, "issuer.key"), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("testca: issuer.key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("testca: issuer.key cannot sign")
	}
	return &Hierarchy{Root: Authority{Certificate: root}, Intermediate: Authority{mid, key}, now: time.Now}, nil
}

func loadCertificate(path string) (*x509.Certificate, error) {
	der, err := loadPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// loadPEM is the first block of a file, which must be of the given type.
func loadPEM(path, typ string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != typ {
		return nil, fmt.Errorf("testca: %s does not begin with a PEM block of type %s", path, typ)
	}
	return block.Bytes, nil
}
