package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// The labels of RFC 7468, 5, 8, 10 and 11.
const (
	labelCertificate  = "CERTIFICATE"
	labelPKCS7        = "PKCS7"
	labelKey          = "PRIVATE KEY"
	labelEncryptedKey = "ENCRYPTED PRIVATE KEY"
)

// pem writes the certificates one after the other, without blank lines or text between them (RFC 8555, 9.1).
func (e entry) pem(end LineEnding) []byte {
	var out []byte
	for _, cert := range e.certs {
		out = append(out, block(labelCertificate, cert.Raw, end)...)
	}
	return out
}

// base64 writes the first certificate as one line that has no end.
func (e entry) base64() []byte {
	return base64.StdEncoding.AppendEncode(nil, e.certs[0].Raw)
}

func (e entry) pkcs7PEM(end LineEnding) ([]byte, error) {
	der, err := e.pkcs7()
	if err != nil {
		return nil, err
	}
	return block(labelPKCS7, der, end), nil
}

func (e entry) keyPEM(end LineEnding) []byte {
	return block(labelKey, e.key, end)
}

func (e entry) encryptedKeyPEM(end LineEnding) ([]byte, error) {
	der, err := encryptedKeyInfo(e.key, e.password)
	if err != nil {
		return nil, fmt.Errorf("bundle: encrypted private key: %w", err)
	}
	return block(labelEncryptedKey, der, end), nil
}

// block is one PEM block with the line ends that are asked for, the last one included.
func block(label string, der []byte, end LineEnding) []byte {
	out := pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	if end == CRLF {
		defer clear(out) // it may hold a key
		return bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
	}
	return out
}
