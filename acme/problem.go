package acme

import (
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const urn = "urn:ietf:params:acme:error:"

// words is what a kind is called in ACME (RFC 8555, 6.7) and the HTTP status it is answered with.
type words struct {
	name   string // behind urn
	status int
}

// wording is the door's one table from kinds to ACME. Conditions that HTTP already expresses are "malformed", the one
// type that says nothing the status does not.
var wording = map[problem.Kind]words{
	problem.Internal:                {"serverInternal", http.StatusInternalServerError},
	problem.Unavailable:             {"serverInternal", http.StatusServiceUnavailable},
	problem.Malformed:               {"malformed", http.StatusBadRequest},
	problem.TooLarge:                {"malformed", http.StatusRequestEntityTooLarge},
	problem.UnsupportedMedia:        {"malformed", http.StatusUnsupportedMediaType}, // RFC 8555, 6.2
	problem.MethodNotAllowed:        {"malformed", http.StatusMethodNotAllowed},     // RFC 8555, 6.3
	problem.NotFound:                {"malformed", http.StatusNotFound},
	problem.Conflict:                {"malformed", http.StatusConflict},
	problem.Unauthorized:            {"unauthorized", http.StatusForbidden},           // RFC 8555, 7.6
	problem.AccountDoesNotExist:     {"accountDoesNotExist", http.StatusBadRequest},   // RFC 8555, 7.3.1
	problem.AlreadyRevoked:          {"alreadyRevoked", http.StatusBadRequest},        // RFC 8555, 7.6
	problem.BadCSR:                  {"badCSR", http.StatusBadRequest},                // RFC 8555, 7.4
	problem.BadNonce:                {"badNonce", http.StatusBadRequest},              // RFC 8555, 6.5
	problem.BadPublicKey:            {"badPublicKey", http.StatusBadRequest},          // RFC 8555, 6.7
	problem.BadRevocationReason:     {"badRevocationReason", http.StatusBadRequest},   // RFC 8555, 7.6
	problem.BadSignatureAlgorithm:   {"badSignatureAlgorithm", http.StatusBadRequest}, // RFC 8555, 6.2
	problem.InvalidContact:          {"invalidContact", http.StatusBadRequest},        // RFC 8555, 7.3
	problem.UnsupportedContact:      {"unsupportedContact", http.StatusBadRequest},    // RFC 8555, 7.3
	problem.UserActionRequired:      {"userActionRequired", http.StatusForbidden},     // RFC 8555, 7.3.3
	problem.OrderNotReady:           {"orderNotReady", http.StatusForbidden},          // RFC 8555, 7.4
	problem.RejectedIdentifier:      {"rejectedIdentifier", http.StatusForbidden},     // RFC 8555, 6.7.1
	problem.UnsupportedIdentifier:   {"unsupportedIdentifier", http.StatusBadRequest}, // RFC 8555, 6.7
	problem.RateLimited:             {"rateLimited", http.StatusTooManyRequests},      // RFC 8555, 6.6
	problem.CAA:                     {"caa", http.StatusForbidden},
	problem.Connection:              {"connection", http.StatusBadRequest},
	problem.DNS:                     {"dns", http.StatusBadRequest},
	problem.TLS:                     {"tls", http.StatusBadRequest},
	problem.IncorrectResponse:       {"incorrectResponse", http.StatusForbidden},
	problem.AlreadyReplaced:         {"alreadyReplaced", http.StatusConflict},          // RFC 9773, 5
	problem.InvalidProfile:          {"invalidProfile", http.StatusBadRequest},         // draft-ietf-acme-profiles, 4
	problem.ExternalAccountRequired: {"externalAccountRequired", http.StatusForbidden}, // RFC 8555, 7.3.4
}

// wordsFor falls back to serverInternal, for kinds that a record may hold from a newer version.
func wordsFor(k problem.Kind) words {
	if w, ok := wording[k]; ok {
		return w
	}
	return wording[problem.Internal]
}

// errDeactivated is an unauthorized answer with a status of its own: RFC 8555, 7.3.6 demands 401 where everything else
// of that type is 403.
var errDeactivated = problem.New(problem.Unauthorized, "this account was deactivated; make a new one with a new key")

// wireProblem is a problem document (RFC 7807) as RFC 8555, 6.7 extends it.
type wireProblem struct {
	Type        string           `json:"type"`
	Detail      string           `json:"detail,omitempty"`
	Status      int              `json:"status,omitempty"`
	Instance    string           `json:"instance,omitempty"`
	Algorithms  []string         `json:"algorithms,omitempty"`
	Subproblems []wireSubproblem `json:"subproblems,omitempty"`
}

// wireSubproblem is RFC 8555, 6.7.1. The identifier is left out if what the client sent is none.
type wireSubproblem struct {
	Type       string          `json:"type"`
	Detail     string          `json:"detail,omitempty"`
	Identifier *wireIdentifier `json:"identifier,omitempty"`
}

func renderProblem(e *problem.Error) *wireProblem {
	w := wordsFor(e.Kind)
	p := &wireProblem{Type: urn + w.name, Detail: e.Detail, Status: w.status}
	if e == errDeactivated {
		p.Status = http.StatusUnauthorized
	}
	if e.Kind == problem.BadSignatureAlgorithm { // RFC 8555, 6.2
		p.Algorithms = jws.Algorithms()
	}
	for _, part := range e.Parts {
		sub := wireSubproblem{Type: urn + wordsFor(part.Kind).name, Detail: part.Detail}
		if !part.Identifier.IsZero() {
			sub.Identifier = renderIdentifier(part.Identifier)
		}
		p.Subproblems = append(p.Subproblems, sub)
		if part.Kind != e.Parts[0].Kind { // RFC 8555, 6.7: the conditions are in the subproblems
			p.Type = urn + "compound"
		}
	}
	return p
}

// incident names one internal error, in the answer and in the log, as a URN (RFC 9562, version 4).
func incident() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
