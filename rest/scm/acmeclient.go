package scm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// acmeClient is an ACME account that was made with a key.
type acmeClient struct {
	ID        int32  `json:"id"`
	AccountID string `json:"accountId"`
	Status    string `json:"status"`
	Contacts  string `json:"contacts,omitempty"`
}

func toACMEClient(a auth.EABClient) acmeClient {
	c := acmeClient{ID: a.Number(), AccountID: a.ID, Status: "ACTIVE"}
	if !a.Deactivated.IsZero() {
		c.Status = "DEACTIVATED"
	}
	var contacts []string
	for _, contact := range a.Contacts {
		contacts = append(contacts, strings.TrimPrefix(contact, "mailto:"))
	}
	c.Contacts = strings.Join(contacts, ", ")
	return c
}

// acmeClients lists the ACME accounts that were made with a key. Where they are and what they are is not kept.
func (s *Server) acmeClients(c *call, _ bool) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	if err := c.noFilter("contacts", "userAgent", "ipAddress", "lastActivityWithinPrevDays"); err != nil {
		return err
	}
	clients, total, err := s.External.Clients(c.ctx, c.caller, c.acmeNumber(), page.Position, page.Size)
	if err != nil {
		return c.noACMEAccount(err)
	}
	list := make([]acmeClient, 0, len(clients))
	for _, a := range clients {
		list = append(list, toACMEClient(a))
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(total, 10))
	return c.answer(list)
}

// deactivateACMEClient ends an ACME account. A body, which the call can do without, may say so.
func (s *Server) deactivateACMEClient(c *call, _ bool) error {
	o, err := c.optionalBody()
	if err != nil {
		return err
	}
	if status := o.Text("status", 32); status != "" && !strings.EqualFold(status, "deactivated") {
		o.Refuse("status", "a client can be deactivated, and nothing else; give deactivated, or no body")
	}
	if err := o.Err(); err != nil {
		return err
	}
	k, id, err := s.External.Client(c.ctx, c.caller, c.acmeNumber(), c.args["clientId"])
	switch {
	case problem.Is(err, problem.NotFound) && k == nil:
		return c.noACMEAccount(err)
	case err != nil:
		return missing(err)
	}
	if err := s.DeactivateClient(c.ctx, c.caller, k.ID, id); err != nil {
		return missing(err)
	}
	return c.done(http.StatusNoContent)
}
