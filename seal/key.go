package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// KeyID tells key-encryption keys apart. It follows from the key and says nothing about it.
type KeyID [8]byte

// String is the id as 16 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is [KeyID.String], for JSON.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Key is a key-encryption key: 32 octets, or an RSA key on a token. Neither can be had back from it, also not by printing.
// It is safe for concurrent use.
type Key struct {
	id       KeyID
	wrapping wrapping // of what it wraps from now on
	secret   []byte   // of octets; nil for a token's
	token    *token
}

// ID is the key's.
func (k *Key) ID() KeyID { return k.id }

// String names the key by its id.
func (k *Key) String() string { return "seal key " + k.id.String() }

// GoString is [Key.String], so that no verb of package fmt shows more.
func (k *Key) GoString() string { return k.String() }

// Format prints [Key.String] whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is [Key.String] for slog.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// NewKey makes a key-encryption key of exactly 32 random octets, which are copied. It may seal 2^32 secrets (NIST SP
// 800-38D, 8.3: random nonces).
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != keySize {
		return nil, fmt.Errorf("a key has %d octets, not %d; make one with openssl rand -base64 %d", keySize, len(secret), keySize)
	}
	same := true
	for _, b := range secret {
		same = same && b == secret[0]
	}
	if same {
		return nil, fmt.Errorf("the key is one octet, repeated; make a random one with openssl rand -base64 %d", keySize)
	}
	// What encrypts and what names the key are derived apart, so that the name is no hint at the key (RFC 5869).
	wrap, err := hkdf.Key(sha256.New, secret, nil, "gatehouse seal wrap", keySize)
	if err != nil {
		return nil, err
	}
	name, err := hkdf.Key(sha256.New, secret, nil, "gatehouse seal id", len(KeyID{}))
	if err != nil {
		return nil, err
	}
	return &Key{id: KeyID(name), wrapping: wrapAES, secret: wrap}, nil
}

// maxKeyFile is more than a key, written down, can have.
const maxKeyFile = 1 << 10

// LoadKey reads a key-encryption key from where ref says: a path of a file that its owner alone may read, or env:NAME. It
// is written in base64 or in hexadecimal digits, on one line. Errors name the place and the remedy, never the content.
func LoadKey(ref string) (*Key, error) {
	var text []byte
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if text = []byte(os.Getenv(name)); len(text) == 0 {
			return nil, fmt.Errorf("the environment variable %s is empty or not set; it must hold the key, in base64 or hexadecimal digits", name)
		}
	} else {
		var err error
		if text, err = readFile(ref); err != nil {
			return nil, err
		}
	}
	defer clear(text)
	secret, err := decodeKey(strings.TrimSpace(string(text)))
	defer clear(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	k, err := NewKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return k, nil
}

// readFile reads a small regular file that only its owner may use. Both are asked of the open file.
func readFile(path string) ([]byte, error) {
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
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others than its owner may use this key (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: it holds more than a key; write one key of %d octets, in base64 or hexadecimal digits", path, keySize)
	}
	return text, nil
}

var errKeyText = fmt.Errorf("it holds no key of %d octets in base64 or hexadecimal digits; make one with openssl rand -base64 %d", keySize, keySize)

// decodeKey reads 64 hexadecimal digits, or base64 of either alphabet with or without padding.
func decodeKey(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(keySize) {
		if b, err := hex.DecodeString(text); err == nil {
			return b, nil
		}
	}
	text = strings.TrimRight(text, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.Strict().DecodeString(text); err == nil && len(b) == keySize {
			return b, nil
		}
	}
	return nil, errKeyText // the decoder's error would tell of the content
}

// wrap encrypts a data key.
func (k *Key) wrap(ctx context.Context, dataKey, head []byte) ([]byte, error) {
	if k.token != nil {
		return k.token.wrap(dataKey, k.wrapping)
	}
	return encrypt(k.secret, dataKey, head)
}

// unwrap is the inverse. The caller wipes the result.
func (k *Key) unwrap(ctx context.Context, how wrapping, wrapped, head []byte) ([]byte, error) {
	switch how {
	case wrapAES:
		if k.secret == nil {
			return nil, errDamaged
		}
		return decrypt(k.secret, wrapped, head)
	case wrapOAEP, wrapOAEPSHA1:
		if k.token == nil {
			return nil, errDamaged
		}
		return k.token.unwrap(ctx, wrapped, how)
	default:
		return nil, errors.New("seal: an unknown way of wrapping")
	}
}
