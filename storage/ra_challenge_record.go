package storage

import (
	"encoding/hex"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// requestChallengeRecord is what one name of a request is validated by.
type requestChallengeRecord struct {
	Name      name           `cbor:"1,keyasint"`
	Method    string         `cbor:"2,keyasint,omitempty"`
	Place     string         `cbor:"3,keyasint,omitempty"`
	Value     string         `cbor:"4,keyasint,omitempty"`
	Validated seconds        `cbor:"5,keyasint,omitempty"`
	Failed    *failureRecord `cbor:"6,keyasint,omitempty"`
	Finding   *findingRecord `cbor:"7,keyasint,omitempty"` // of Failed
}

type findingRecord struct {
	Found   bool   `cbor:"1,keyasint,omitempty"`
	Correct bool   `cbor:"2,keyasint,omitempty"`
	Target  string `cbor:"3,keyasint,omitempty"`
	Trouble string `cbor:"4,keyasint,omitempty"`
	Status  int    `cbor:"5,keyasint,omitempty"`
}

// csrHashRecord is what publications of a request are derived from.
type csrHashRecord struct {
	MD5    []byte `cbor:"1,keyasint"`
	SHA256 []byte `cbor:"2,keyasint"`
	Unique string `cbor:"3,keyasint"`
	Suffix string `cbor:"4,keyasint"`
}

func toChallenges(list []ra.Challenge) (out []requestChallengeRecord) {
	for _, c := range list {
		r := requestChallengeRecord{
			Name: toName(c.Identifier), Method: string(c.Method), Place: c.Publication.Place, Value: c.Publication.Value, Validated: toSeconds(c.Validated),
		}
		if f := c.Failed; f != nil {
			r.Failed = &failureRecord{Kind: f.Kind.String(), Detail: f.Detail, At: toSeconds(f.At), Record: f.Record}
			if s := f.Finding; s != nil {
				r.Finding = &findingRecord{Found: s.Found, Correct: s.Correct, Target: s.Target, Trouble: string(s.Trouble), Status: s.Status}
			}
		}
		out = append(out, r)
	}
	return out
}

func fromChallenges(list []requestChallengeRecord) (out []ra.Challenge, err error) {
	for _, r := range list {
		id, err := r.Name.identifier()
		if err != nil {
			return nil, err
		}
		c := ra.Challenge{
			Identifier: id, Method: dcv.Method(r.Method), Publication: dcv.Publication{Place: r.Place, Value: r.Value}, Validated: r.Validated.time(),
		}
		if f := r.Failed; f != nil {
			c.Failed = &ra.ChallengeFailure{Kind: problem.ParseKind(f.Kind), Detail: f.Detail, At: f.At.time(), Record: f.Record}
			if s := r.Finding; s != nil {
				c.Failed.Finding = &dcv.Finding{Found: s.Found, Correct: s.Correct, Target: s.Target, Trouble: dcv.Trouble(s.Trouble), Status: s.Status}
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func toCSRHash(h dcv.CSRHash) *csrHashRecord {
	if h.IsZero() {
		return nil
	}
	return &csrHashRecord{MD5: h.MD5[:], SHA256: h.SHA256[:], Unique: h.Unique, Suffix: h.Suffix}
}

func (r *csrHashRecord) hash() (h dcv.CSRHash, err error) {
	if r == nil {
		return h, nil
	}
	h.Unique, h.Suffix = r.Unique, r.Suffix
	if copy(h.MD5[:], r.MD5) != len(h.MD5) || copy(h.SHA256[:], r.SHA256) != len(h.SHA256) {
		return dcv.CSRHash{}, fmt.Errorf("hashes of a CSR of %d and %d octets (%s)", len(r.MD5), len(r.SHA256), hex.EncodeToString(r.MD5))
	}
	return h, nil
}
