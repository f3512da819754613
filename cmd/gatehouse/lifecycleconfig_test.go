package main

import (
	"strings"
	"testing"
	"time"
)

func TestRevokeReplacedConfig(t *testing.T) {
	t.Parallel()
	read := func(words string) (time.Duration, error) {
		c, err := parseConfig("gatehouse.yaml", []byte(goodConfig+words))
		if err != nil {
			return 0, err
		}
		return c.revokeReplaced()
	}
	for words, want := range map[string]time.Duration{"": 0, "revoke_replaced: 1s\n": time.Second, "revoke_replaced: 365d\n": 365 * 24 * time.Hour} {
		if got, err := read(words); err != nil || got != want {
			t.Errorf("%q: %v, %v", words, got, err)
		}
	}
	for _, words := range []string{"revoke_replaced: 1ms\n", "revoke_replaced: 366d\n", "revoke_replaced: -1h\n", "revoke_replaced: soon\n"} {
		if _, err := read(words); err == nil || !strings.Contains(err.Error(), "gatehouse.yaml:") {
			t.Errorf("%q: %v", words, err)
		}
	}
}
