package ca

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// serialOctets is the length of every serial made here: a first octet of 01 to 7f, so that the INTEGER is positive and
// its encoding never shorter or longer, and 16 random ones. RFC 5280, 4.1.2.2 allows 20; 128 bits from a CSPRNG make the
// number unpredictable and a repetition not worth considering, though RecordIntent refuses one all the same.
const serialOctets = 1 + 16

// maxSerialOctets is the longest serial a certificate may carry (RFC 5280, 4.1.2.2).
const maxSerialOctets = 20

// newSerial draws a serial number.
func newSerial() (Serial, *big.Int) {
	var b [serialOctets]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process rather than return weak bytes
	b[0] = 1 + b[0]%0x7f
	return Serial(hex.EncodeToString(b[:])), new(big.Int).SetBytes(b[:])
}

// SerialOf is the serial number of a parsed certificate in the form that records use.
func SerialOf(n *big.Int) Serial { return Serial(hex.EncodeToString(n.Bytes())) }

// ParseSerial reads a serial number as people and other programs write it: hexadecimal of either case, optionally with
// colons between octets and with leading zeros. It refuses zero and more than 20 octets (RFC 5280, 4.1.2.2).
func ParseSerial(s string) (Serial, error) {
	digits := strings.TrimLeft(strings.ReplaceAll(s, ":", ""), "0")
	if len(digits) == 0 || len(digits) > 2*maxSerialOctets {
		return "", fmt.Errorf("a serial number is 1 to %d octets in hexadecimal and not zero", maxSerialOctets)
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return "", fmt.Errorf("a serial number is hexadecimal digits: %w", err)
	}
	return Serial(hex.EncodeToString(b)), nil
}

// Int is the number itself. It fails if s is not in the form that [ParseSerial] and [SerialOf] give.
func (s Serial) Int() (*big.Int, error) {
	canonical, err := ParseSerial(string(s))
	if err != nil {
		return nil, err
	}
	if canonical != s {
		return nil, fmt.Errorf("serial %q is not lower-case hexadecimal in whole octets", string(s))
	}
	n, _ := new(big.Int).SetString(string(s), 16) // ParseSerial has seen only hexadecimal digits
	return n, nil
}
