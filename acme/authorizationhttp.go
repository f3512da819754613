package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// wireAuthorization is RFC 8555, 7.1.4.
type wireAuthorization struct {
	Status     Status           `json:"status"`
	Expires    string           `json:"expires"`
	Identifier *wireIdentifier  `json:"identifier"`
	Challenges []*wireChallenge `json:"challenges"`
	Wildcard   bool             `json:"wildcard,omitempty"`
}

// wireChallenge is RFC 8555, 7.1.5 and 8.3. Every challenge has a token, whatever became of it: clients read it without
// looking at the status first.
type wireChallenge struct {
	Type      string       `json:"type"`
	URL       string       `json:"url"`
	Status    Status       `json:"status"`
	Token     string       `json:"token"`
	Validated string       `json:"validated,omitempty"`
	Error     *wireProblem `json:"error,omitempty"`
}

// authorization reads one authorization, or gives it up.
func (s *Server) authorization(ctx context.Context, req *signed) (*reply, error) {
	if req.reads() {
		return s.givenUp(ctx, req.authz)
	}
	return s.deactivateAuthorization(ctx, req)
}

// renderAuthorization is the authorization as its account sees it now.
func (s *Server) renderAuthorization(a *Authorization) *reply {
	w := &wireAuthorization{
		Status:     a.Status(s.Now()),
		Expires:    a.Expires.UTC().Format(time.RFC3339),
		Identifier: renderIdentifier(a.Identifier),
		Challenges: []*wireChallenge{},
		Wildcard:   a.Wildcard,
	}
	rep := &reply{value: w}
	// RFC 8555, 7.1.4: once there is an outcome, only the challenge that it came from.
	only := a.proven()
	if only == nil {
		only = a.failed()
	}
	for i := range a.Challenges {
		c := &a.Challenges[i]
		if only != nil && c != only {
			continue
		}
		w.Challenges = append(w.Challenges, s.renderChallenge(a, i))
		if w.Status == StatusPending && c.Status() == StatusProcessing { // RFC 8555, 7.5.1
			rep.retryAfter = pollAfter
		}
	}
	return rep
}

func (s *Server) renderChallenge(a *Authorization, position int) *wireChallenge {
	c := &a.Challenges[position]
	w := &wireChallenge{
		Type:   string(c.Method),
		URL:    s.links.challenge(a.ID, position),
		Status: c.Status(),
		Token:  c.Token,
	}
	if c.Proof != nil {
		w.Validated = c.Proof.At.UTC().Format(time.RFC3339)
	}
	if c.Failed != nil {
		w.Error = renderProblem(problem.New(c.Failed.Kind, "%s", c.Failed.Detail))
		w.Error.Instance = s.links.authz(a.ID) // RFC 7807, 3.1: what to name to the operator, who has the whole record
	}
	return w
}
