package main

import (
	"fmt"
	"time"
)

// maxRevokeReplaced is the longest time until a certificate that was replaced is revoked; most have expired by then.
const maxRevokeReplaced = 365 * 24 * time.Hour

// revokeReplaced is how long after its successor was issued a certificate that was replaced is revoked; zero: it is not.
func (c *fileConfig) revokeReplaced() (time.Duration, error) {
	d := time.Duration(c.RevokeReplaced)
	if d != 0 && (d < time.Second || d > maxRevokeReplaced) {
		return 0, c.source.at("revoke_replaced", fmt.Errorf("%v is not 1s to 365d; leave it out to revoke nothing", d))
	}
	return d, nil
}
