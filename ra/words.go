package ra

import "github.com/gatehouse-ca/gatehouse/ca"

// What doors say about certificates without knowing the signing gate.
type (
	// Serial is a certificate's serial number.
	Serial = ca.Serial
	// Reason is why a certificate is revoked (RFC 5280, 5.3.1).
	Reason = ca.Reason
)

// ParseSerial is ca.ParseSerial.
func ParseSerial(text string) (Serial, error) { return ca.ParseSerial(text) }
