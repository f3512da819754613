package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// version is the first octet of what this program seals. Others are refused.
const version = 1

// wrapping says how a data key is wrapped.
type wrapping uint8

const (
	wrapAES       wrapping = iota + 1 // AES-256-GCM
	wrapOAEP                          // RSA-OAEP, SHA-256 for label and mask (RFC 8017, 7.1)
	wrapOAEPSHA1                      // the same with SHA-1, for tokens that have nothing else
	wrappingCount = iota
)

const (
	keySize   = 32 // of a data key and of a key-encryption key of octets
	headSize  = 10 // version, wrapping, key id
	nonceSize = 12
	tagSize   = 16
	maxWrap   = 1024 // of an RSA key of 8192 bits
)

// envelope is a sealed value, taken apart.
type envelope struct {
	wrapping wrapping
	key      KeyID
	wrapped  []byte // the data key
	body     []byte // the secret
}

// head is what stands before the wrapped key, and is authenticated with it.
func (e *envelope) head() []byte {
	return append([]byte{version, byte(e.wrapping)}, e.key[:]...)
}

func (e *envelope) bytes() []byte {
	b := binary.BigEndian.AppendUint16(e.head(), uint16(len(e.wrapped)))
	return append(append(b, e.wrapped...), e.body...)
}

var errForm = errors.New("this is no sealed value")

// parse takes a sealed value apart. What it returns shares the value's memory.
func parse(sealed []byte) (*envelope, error) {
	if len(sealed) == 0 {
		return nil, errForm
	}
	if sealed[0] != version {
		return nil, fmt.Errorf("a value is sealed in a form (%d) that this version of the gateway does not know; use the version that sealed it, or a newer one", sealed[0])
	}
	if len(sealed) < headSize+2 {
		return nil, errForm
	}
	e := &envelope{wrapping: wrapping(sealed[1])}
	copy(e.key[:], sealed[2:headSize])
	size, rest := int(binary.BigEndian.Uint16(sealed[headSize:])), sealed[headSize+2:]
	switch {
	case e.wrapping == 0 || e.wrapping > wrappingCount:
		return nil, fmt.Errorf("a data key is wrapped in a way (%d) that this version of the gateway does not know; use the version that sealed it, or a newer one", sealed[1])
	case size == 0 || size > maxWrap || len(rest) < size+nonceSize+tagSize+1 || len(rest) > size+nonceSize+tagSize+MaxSecret:
		return nil, errForm
	}
	e.wrapped, e.body = rest[:size:size], rest[size:]
	return e, nil
}

// additional are the data that a secret is bound to. The length keeps ("a", "bc") and ("ab", "c") apart.
func additional(purpose Purpose, id string) []byte {
	b := []byte("gatehouse secret\x00")
	b = binary.BigEndian.AppendUint16(b, uint16(len(purpose)))
	return append(append(b, purpose...), id...)
}

// encrypt is AES-256-GCM with a random nonce in front.
func encrypt(key, plain, additional []byte) ([]byte, error) {
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, additional), nil
}

// decrypt is the inverse. Its error is always the same.
func decrypt(key, sealed, additional []byte) ([]byte, error) {
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, nil, sealed, additional)
	if err != nil {
		return nil, errDamaged
	}
	return plain, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, errDamaged
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
