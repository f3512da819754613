package ca

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxPEMFile bounds what is read from a key, chain or PIN file.
const maxPEMFile = 1 << 20

// LoadKey reads a private key (PKCS #8, or the older RSA and EC forms) from a PEM file. The file must hold exactly one,
// unencrypted, and be a regular file that nobody but its owner may read. Errors name the file and the remedy, never the
// content.
func LoadKey(path string) (crypto.Signer, error) {
	data, err := readOwn(path, 0o077, "private key")
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // openssl writes the curve's name before the key, which names it again
			continue
		}
		k, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if key != nil {
			return nil, fmt.Errorf("%s: the file holds more than one private key; keep one", path)
		}
		key = k
	}
	if key == nil {
		return nil, fmt.Errorf("%s: the file holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", path)
	}
	return key, nil
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	_, encrypted := block.Headers["DEK-Info"] // RFC 1421, 4.6.1.3: the older encrypted form
	var key any
	var err error
	switch {
	case encrypted || block.Type == "ENCRYPTED PRIVATE KEY": // RFC 5958, 3
		return nil, errors.New("the private key is encrypted; decrypt it (openssl pkey -in FILE -out NEW; chmod 600 NEW)" +
			" and protect the file instead")
	case block.Type == "PRIVATE KEY": // RFC 5958
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY": // RFC 5915
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY": // RFC 8017, A.1.2
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a %q block is not a private key; keep certificates in a file of their own", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

// LoadChain reads certificates from a PEM file, in its order. It holds them to nothing but their encoding; [New] checks
// that they are an issuer's chain.
func LoadChain(path string) ([]*x509.Certificate, error) {
	data, err := readOwn(path, 0, "chain")
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" { // RFC 7468, 5
			return nil, fmt.Errorf("%s: a %q block does not belong into a chain file; keep only certificates", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d cannot be read: %w", path, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: the file holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path)
	}
	return chain, nil
}

// readOwn reads a regular file none of whose permission bits are forbidden. Both are asked of the open file, so that what
// was checked is what is read. what is what the file holds, for the message.
func readOwn(path string, forbidden os.FileMode, what string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if open := info.Mode().Perm() & forbidden; open != 0 {
		return nil, fmt.Errorf("%s: others than its owner may use this %s (mode %04o); run: chmod 600 %s",
			path, what, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEMFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEMFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxPEMFile)
	}
	return data, nil
}
