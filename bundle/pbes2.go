package bundle

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
)

var (
	oidPBES2          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}     // RFC 8018, A.4
	oidPBKDF2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}     // RFC 8018, A.2
	oidHMACWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}         // RFC 8018, B.1.2
	oidAES256CBC      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42} // RFC 8018, B.2.5
)

const (
	saltSize = 16 // octets, of every salt: RFC 8018, 4.1 asks for at least eight
	// iterations of every key derivation: as many as cost a download some tens of milliseconds, and every guess at the password the
	// same. Readers bound what they take, so more is not always better.
	iterations = 100_000
)

// encryption is one use of PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC (RFC 8018, 6.2), with a salt and an
// initialization vector of its own.
type encryption struct {
	salt, iv   []byte
	ciphertext []byte
}

// encrypt encrypts under a password in UTF-8 (RFC 8018, 3). The plain text stays as it is; no copy of it remains. One of the
// password does until it is collected, because the standard library wants a string.
func encrypt(plain, password []byte) (*encryption, error) {
	e := &encryption{salt: make([]byte, saltSize), iv: make([]byte, aes.BlockSize)}
	rand.Read(e.salt) // never fails: it ends the process instead
	rand.Read(e.iv)
	key, err := pbkdf2.Key(sha256.New, string(password), e.salt, iterations, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	e.ciphertext = append(append(make([]byte, 0, len(plain)+pad), plain...), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, e.iv).CryptBlocks(e.ciphertext, e.ciphertext)
	return e, nil
}

// algorithm is the AlgorithmIdentifier (RFC 8018, A.2 and A.4).
func (e *encryption) algorithm() adder {
	return sequence(oid(oidPBES2), sequence(
		sequence(oid(oidPBKDF2), sequence(
			octets(e.salt), number(iterations), sequence(oid(oidHMACWithSHA256), null),
		)),
		sequence(oid(oidAES256CBC), octets(e.iv)),
	))
}

// encryptedKeyInfo is EncryptedPrivateKeyInfo (RFC 5958, 3) around a key in PKCS #8.
func encryptedKeyInfo(key, password []byte) ([]byte, error) {
	e, err := encrypt(key, password)
	if err != nil {
		return nil, err
	}
	return built(sequence(e.algorithm(), octets(e.ciphertext)))
}
