package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	stockIssuer   = "bench"
	stockValidity = 90 * 24 * time.Hour
	stockExpired  = 9 * 24 * time.Hour // how long ago the oldest validity ended: a tenth of all certificates has expired
	stockBackdate = time.Hour

	stockRequesters = 50  // per organisation
	stockUnits      = 200 // whose names share an end
)

// stockProfiles are the profiles of loaded enrollments, with their shares in tenths. Their names are nobody else's, so that
// what a load made can be told from what it did not.
var stockProfiles = []struct {
	name  string
	share uint64
}{{"bench-server", 7}, {"bench-short", 2}, {"bench-client", 1}}

// stockOrgs are the organisations, with their shares in tenths: lists are measured in one that has nearly everything.
var stockOrgs = []struct {
	id    auth.OrgID
	share uint64
}{{1, 8}, {2, 1}, {3, 1}}

// stockNumber is the number by which clients that number profiles know one of stockProfiles.
func stockNumber(n int) int { return 100 + n }

// addStock adds to what a throw-away gateway knows the profiles and organisations of loaded enrollments: the first organisation is
// its own, the others are below that.
func addStock(profiles map[string]*policy.Profile, orgs []auth.Org) ([]auth.Org, error) {
	for n, p := range stockProfiles {
		profile, err := policy.New(policy.Config{Name: p.name, Number: int32(stockNumber(n)), Issuer: "dev", Validity: stockValidity, Backdate: stockBackdate, DCV: policy.NoValidation, AllowNames: []string{"*.example.com"}})
		if err != nil {
			return nil, err
		}
		profiles[p.name] = profile
	}
	for _, o := range stockOrgs[1:] {
		orgs = append(orgs, auth.Org{ID: o.id, Slug: fmt.Sprintf("stock-%d", o.id), Name: "Of bench load", Parent: stockOrgs[0].id})
	}
	return orgs, nil
}

// stockReasons are the reasons of loaded revocations (RFC 5280, 5.3.1): unspecified, keyCompromise, superseded and
// cessationOfOperation.
var stockReasons = []ca.Reason{0, 1, 4, 5}

// benchStock is the inventory that "bench load" makes. What an enrollment looks like follows from its number alone, so
// that lists can be compared with what they should hold. It is safe for concurrent use.
type benchStock struct {
	now      time.Time
	hashes   map[string]string // of profiles
	unsigned *stockCertificate
}

func newBenchStock(now time.Time) (*benchStock, error) {
	s := &benchStock{now: now.UTC().Truncate(time.Second), hashes: map[string]string{}}
	for _, p := range stockProfiles {
		profile, err := policy.New(policy.Config{Name: p.name, Issuer: stockIssuer, Validity: stockValidity, Backdate: stockBackdate})
		if err != nil {
			return nil, err
		}
		s.hashes[p.name] = profile.Hash()
	}
	var err error
	s.unsigned, err = newStockCertificate(s.now)
	return s, err
}

// stockFacts is what the number of an enrollment says about it.
type stockFacts struct {
	org       auth.OrgID
	profile   string
	account   string
	names     [2]string
	notAfter  time.Time
	revoked   bool
	reason    ca.Reason
	revokedAt time.Duration // behind its issuance
}

// facts derives an enrollment from its number, by octets of a hash that are independent of one another.
func (s *benchStock) facts(id ra.ID) stockFacts {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("stock"), uint64(id)))
	number := func(at int, below uint64) uint64 { return uint64(binary.BigEndian.Uint32(h[at:])) % below }
	var f stockFacts
	tenth := number(0, 10)
	for _, o := range stockOrgs {
		if f.org = o.id; tenth < o.share {
			break
		}
		tenth -= o.share
	}
	tenth = number(4, 10)
	for _, p := range stockProfiles {
		if f.profile = p.name; tenth < p.share {
			break
		}
		tenth -= p.share
	}
	f.account = stockAccount(f.org, int(number(8, stockRequesters)))
	// Names have one length, because they are put into a certificate that is encoded already.
	name := fmt.Sprintf("h%010d.%s", id, stockUnit(int(number(12, stockUnits))))
	f.names = [2]string{name, "www." + name}
	f.notAfter = s.now.Add(-stockExpired).Add(time.Duration(number(16, uint64(stockValidity/time.Second))) * time.Second)
	f.revoked = number(20, 32) == 0
	f.reason = stockReasons[number(24, uint64(len(stockReasons)))]
	f.revokedAt = time.Duration(number(28, uint64(stockExpired/2/time.Second))) * time.Second
	return f
}

// stockAccount is the ACME account id of an organisation's requester: as many octets as a real one.
func stockAccount(org auth.OrgID, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "account %d %d", org, n))
	return encode64(sum[:16])
}

func stockUnit(n int) string { return fmt.Sprintf("u%03d.example.com", n) }

// loaded makes an enrollment with its certificate as an ACME issuance leaves them.
func (s *benchStock) loaded(id ra.ID) (storage.Loaded, error) {
	f := s.facts(id)
	issued := f.notAfter.Add(-stockValidity + time.Second + stockBackdate)
	names := make([]identifier.Identifier, len(f.names))
	proofs := make([]policy.Proven, len(f.names))
	for i, text := range f.names {
		name, err := identifier.ParseDNS(text)
		if err != nil {
			return storage.Loaded{}, err
		}
		names[i] = name
		proofs[i] = policy.Proven{Org: int32(f.org), Account: f.account, Proof: dcv.Proof{
			Method: dcv.HTTP01, Identifier: name, At: issued, Until: issued.Add(stockValidity),
			Seen: fmt.Sprintf("http://%s%s%s at 192.0.2.%d:80", text, challengePath, f.account, id%254+1),
		}}
	}
	e := &ra.Enrollment{
		ID: id, Org: f.org, Door: ra.DoorACME, Requester: "acme:" + f.account, Profile: f.profile, ProfileHash: s.hashes[f.profile],
		Names: names, Created: issued, Phase: ra.Requested, Proofs: proofs,
	}
	c, err := s.unsigned.sign(f.names, issued.Add(-stockBackdate), f.notAfter)
	if err != nil {
		return storage.Loaded{}, err
	}
	c.Enrollment, c.Names, c.Profile, c.ProfileHash, c.Opened, c.Issued = int64(id), names, f.profile, e.ProfileHash, issued, issued
	c.Requester = policy.Requester{Org: int32(f.org), Door: string(ra.DoorACME), Principal: e.Requester}
	e = (&ra.Issuance{Enrollment: e}).Completed(*c)
	if f.revoked {
		c.Revocation = &ca.Revocation{At: issued.Add(f.revokedAt), Reason: f.reason, Actor: e.Requester}
		e = e.Revoke(*c.Revocation)
	}
	return storage.Loaded{Enrollment: e, Certificate: c}, nil
}
