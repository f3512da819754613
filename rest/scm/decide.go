package scm

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// maxMessage is how long a message or a reason may be, in characters.
const maxMessage = 512

func (s *Server) approve(c *call) error { return c.decide(s.Registrar.Approve) }

func (s *Server) decline(c *call) error { return c.decide(s.Registrar.Decline) }

// decide has a request approved or declined, with a message.
func (c *call) decide(decision func(context.Context, auth.Caller, ra.ID, string) (*ra.Enrollment, error)) error {
	_, e, err := c.current("id")
	if err != nil {
		return err
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("message")
	message := oneLine(o.Text("message", maxMessage))
	if err := o.Err(); err != nil {
		return err
	}
	_, err = decision(c.ctx, c.caller, e.ID, message)
	switch {
	case errors.Is(err, ra.ErrOwnRequest):
		return coded(http.StatusBadRequest, codeOwnRequest, err)
	case err != nil:
		return undecided(err)
	}
	return c.done(http.StatusNoContent)
}

// undecided is the refusal of a request that there is nothing to decide about.
func undecided(err error) error {
	return recoded(err, problem.Conflict, http.StatusBadRequest, codeDecided)
}
