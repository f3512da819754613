package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestServerKeys(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   policy.Config
		fault string
	}{
		{name: "absent", cfg: policy.Config{}},
		{name: "off", cfg: policy.Config{ServerKeys: policy.ServerKeysOff}},
		{name: "on", cfg: policy.Config{ServerKeys: policy.ServerKeysOn}},
		{name: "another word", cfg: policy.Config{ServerKeys: "yes"}, fault: "server_keys"},
		{name: "public, off", cfg: policy.Config{Mode: policy.Public, ServerKeys: policy.ServerKeysOff}},
		{name: "public, on", cfg: policy.Config{Mode: policy.Public, ServerKeys: policy.ServerKeysOn}, fault: "6.1.1.3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Name, tt.cfg.Issuer, tt.cfg.Now = "web", "main", time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
			p, err := policy.New(tt.cfg)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			on := tt.cfg.ServerKeys == policy.ServerKeysOn
			if p.ServerKeys() != on {
				t.Errorf("ServerKeys is %t", p.ServerKeys())
			}
			if err := p.CheckServerKey(policy.ECDSAP256); (err == nil) != on || err != nil && !problem.Is(err, problem.Unauthorized) {
				t.Errorf("a key of the profile's: %v", err)
			}
			if !on {
				return
			}
			for _, other := range []policy.KeyType{"", policy.Ed25519, "rsa-1024"} {
				if err := p.CheckServerKey(other); !problem.Is(err, problem.Malformed) {
					t.Errorf("a key of type %q: %v", other, err)
				}
			}
		})
	}
}

// TestServerKeysAreNoPartOfTheHash: what is pinned stays pinned when an operator allows or forbids them.
func TestServerKeysAreNoPartOfTheHash(t *testing.T) {
	hash := func(rule policy.ServerKeyRule) string {
		p, err := policy.New(policy.Config{Name: "web", Issuer: "main", ServerKeys: rule})
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash()
	}
	if hash("") != hash(policy.ServerKeysOn) {
		t.Error("the hash has changed")
	}
}
