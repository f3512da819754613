package bundle

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxIterations bounds what somebody else's file can cost: about a third of a second.
const maxIterations = 1_000_000

// maxPasswordOctets bounds a password that opens somebody else's file, which may be shorter or odder than ours.
const maxPasswordOctets = 1024

// prf is a pseudorandom function of PBKDF2 (RFC 8018, B.1), by its hash.
func prf(id asn1.ObjectIdentifier) func() hash.Hash {
	switch id.String() {
	case "1.2.840.113549.2.7":
		return sha1.New // HMAC does not rest on its collisions
	case oidHMACWithSHA256.String():
		return sha256.New
	case "1.2.840.113549.2.10":
		return sha512.New384
	case "1.2.840.113549.2.11":
		return sha512.New
	default:
		return nil
	}
}

// aesKeySize is the octets of the key of a scheme of encryption (RFC 8018, B.2.5); zero for any other.
func aesKeySize(id asn1.ObjectIdentifier) int {
	switch id.String() {
	case "2.16.840.1.101.3.4.1.2":
		return 16
	case "2.16.840.1.101.3.4.1.22":
		return 24
	case oidAES256CBC.String():
		return 32
	default:
		return 0
	}
}

// encrypted is an EncryptedPrivateKeyInfo (RFC 5958, 3), taken apart. Its fault, if there is one, says why it cannot be opened.
type encrypted struct {
	prf        func() hash.Hash
	salt, iv   []byte
	iterations int
	keySize    int
	ciphertext []byte
	fault      error
}

// parseEncrypted takes one apart; ok is false for what has another form.
func parseEncrypted(der []byte) (e encrypted, ok bool) {
	outer := cryptobyte.String(der)
	var info, algorithm, ciphertext cryptobyte.String
	var scheme asn1.ObjectIdentifier
	if !outer.ReadASN1(&info, cbasn1.SEQUENCE) || !outer.Empty() || !info.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!info.ReadASN1(&ciphertext, cbasn1.OCTET_STRING) || !info.Empty() || !algorithm.ReadASN1ObjectIdentifier(&scheme) {
		return e, false
	}
	e.ciphertext = ciphertext
	e.fault = problem.New(problem.Malformed, "private key: it is encrypted in a way that is not read; encrypt it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
	if scheme.Equal(oidPBES2) && e.readParameters(algorithm) && e.prf != nil && e.keySize > 0 {
		e.fault = nil
		if e.iterations < 1 || e.iterations > maxIterations || len(e.iv) != aes.BlockSize || len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
			e.fault = problem.New(problem.Malformed, "private key: the parameters of its encryption are out of bounds; at most %d iterations are taken", maxIterations)
		}
	}
	return e, true
}

// readParameters reads PBES2-params (RFC 8018, A.4).
func (e *encrypted) readParameters(algorithm cryptobyte.String) bool {
	var params, kdf, kdfParams, enc, salt, iv cryptobyte.String
	var kdfID, encID asn1.ObjectIdentifier
	if !algorithm.ReadASN1(&params, cbasn1.SEQUENCE) || !algorithm.Empty() ||
		!params.ReadASN1(&kdf, cbasn1.SEQUENCE) || !params.ReadASN1(&enc, cbasn1.SEQUENCE) || !params.Empty() ||
		!kdf.ReadASN1ObjectIdentifier(&kdfID) || !kdfID.Equal(oidPBKDF2) || !kdf.ReadASN1(&kdfParams, cbasn1.SEQUENCE) || !kdf.Empty() ||
		!enc.ReadASN1ObjectIdentifier(&encID) || !enc.ReadASN1(&iv, cbasn1.OCTET_STRING) || !enc.Empty() ||
		!kdfParams.ReadASN1(&salt, cbasn1.OCTET_STRING) || !kdfParams.ReadASN1Integer(&e.iterations) {
		return false
	}
	e.salt, e.iv, e.keySize = salt, iv, aesKeySize(encID)
	if kdfParams.PeekASN1Tag(cbasn1.INTEGER) {
		length := 0
		if !kdfParams.ReadASN1Integer(&length) || length != e.keySize {
			return false
		}
	}
	e.prf = sha1.New // RFC 8018, A.2: the default
	if kdfParams.Empty() {
		return true
	}
	var function cryptobyte.String
	var id asn1.ObjectIdentifier
	if !kdfParams.ReadASN1(&function, cbasn1.SEQUENCE) || !kdfParams.Empty() || !function.ReadASN1ObjectIdentifier(&id) {
		return false
	}
	e.prf = prf(id)
	return true
}

// open decrypts. The result is new memory. That a password is wrong and that the key is damaged look alike.
func (e *encrypted) open(password []byte) ([]byte, error) {
	switch {
	case e.fault != nil:
		return nil, e.fault
	case len(password) == 0:
		return nil, problem.New(problem.Malformed, "password: the private key is encrypted; send its password as well")
	case len(password) > maxPasswordOctets:
		return nil, problem.New(problem.Malformed, "password: it has more than %d octets", maxPasswordOctets)
	}
	wrong := problem.New(problem.Malformed, "password: it does not open the private key, or the key is damaged")
	key, err := pbkdf2.Key(e.prf, string(password), e.salt, e.iterations, e.keySize)
	if err != nil {
		return nil, wrong
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, wrong
	}
	plain := make([]byte, len(e.ciphertext))
	cipher.NewCBCDecrypter(block, e.iv).CryptBlocks(plain, e.ciphertext)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		clear(plain)
		return nil, wrong
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			clear(plain)
			return nil, wrong
		}
	}
	plain = plain[:len(plain)-pad]
	if _, err := parseDER(labelKey, plain); err != nil { // a wrong password has passed for a right one, one time in 256
		clear(plain)
		return nil, wrong
	}
	return plain, nil
}
