package storage_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestUsableAuthorizationsKeepWildcardsApart: a wildcard, its base and an address are found by themselves alone, also where
// a pointer is wrong.
func TestUsableAuthorizationsKeepWildcardsApart(t *testing.T) {
	address, err := identifier.ParseIP("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	kinds := append(names(t, "example.com", "*.example.com"), address)
	for i, proven := range kinds {
		db, c := open(t)
		a := newAccount(t, db)
		z := &acme.Authorization{
			ID: acme.AuthzID(random()), Account: a.ID, Org: 1, Identifier: proven.Base(), Wildcard: proven.IsWildcard(),
			Created: now(), Expires: now().Add(time.Hour), Challenges: []acme.Challenge{{Method: dcv.DNS01, Token: "t"}},
		}
		o := &acme.Order{
			ID: acme.OrderID(random()), Account: a.ID, Org: 1, Names: kinds[i : i+1], Authzs: []acme.AuthzID{z.ID},
			Created: now(), Expires: now().Add(time.Hour),
		}
		must(t, db.CreateOrder(t.Context(), o, []*acme.Authorization{z}))
		z.Challenges[0].Proof = &dcv.Proof{Method: dcv.DNS01, Identifier: z.Identifier, At: now()}
		must(t, db.FinishChallenge(t.Context(), z))
		for round := range 2 {
			found, err := db.UsableAuthorizations(t.Context(), a.ID, kinds)
			must(t, err)
			for j, other := range kinds {
				if got := found[j] != nil; got != (i == j) {
					t.Errorf("round %d: the authorization of %s is found for %s: %v", round, proven, other, got)
				}
				must(t, c.Commit(t.Context(), storage.Batch{
					Version: storage.NewVersion(),
					Puts:    []storage.Put{{Key: storage.Key("usable/" + string(a.ID) + "/" + other.String()), Value: []byte(z.ID)}},
				}))
			}
		}
	}
}
