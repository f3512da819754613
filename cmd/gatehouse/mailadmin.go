package main

import (
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// mailView is a mail as the operator's commands show it. Its secret is its recipient's.
type mailView struct {
	ID       string            `json:"id"`
	Org      string            `json:"org,omitempty"` // slug
	OrgID    int32             `json:"orgId"`
	Kind     string            `json:"kind"`
	To       string            `json:"to"`
	Status   string            `json:"status"` // queued, sending or given up
	Created  time.Time         `json:"created"`
	Until    time.Time         `json:"until"`
	Due      time.Time         `json:"due,omitzero"`
	Attempts int               `json:"attempts"`
	Trouble  string            `json:"trouble,omitempty"`
	GivenUp  time.Time         `json:"givenUp,omitzero"`
	Words    map[string]string `json:"words"`
}

// mailsView is a page of mails, and how the server does.
type mailsView struct {
	Mails  []mailView `json:"mails"`
	Next   string     `json:"next,omitempty"` // the last one's id, if there may be more
	Server serverView `json:"server"`
}

type serverView struct {
	Configured bool      `json:"configured"`
	Trouble    string    `json:"trouble,omitempty"`
	Next       time.Time `json:"next,omitzero"` // when it is tried again
}

func (a *admin) viewMail(m *ra.Mail) mailView {
	v := mailView{
		ID: m.ID, Org: a.slug(m.Org), OrgID: int32(m.Org), Kind: mailKind(m), To: m.To, Status: "queued", Created: m.Created, Until: m.Until, Due: m.Due,
		Attempts: m.Attempts, Trouble: m.Trouble, GivenUp: m.GivenUp, Words: m.Data,
	}
	switch {
	case !m.GivenUp.IsZero():
		v.Status = "given up"
	case m.Taken && a.now().Before(m.Due):
		v.Status = "sending"
	}
	return v
}

// mailKind is the kind of a mail, of one about an event that of the event.
func mailKind(m *ra.Mail) string {
	if m.Kind == ra.MailEvent {
		return m.Data["event"]
	}
	return string(m.Kind)
}

func (a *admin) mailList(caller auth.Caller, r *http.Request) (any, error) {
	q, limit := r.URL.Query(), 50
	if err := number(q.Get("limit"), "limit", &limit); err != nil {
		return nil, err
	}
	found, err := a.mails.List(r.Context(), caller, q.Get("lost") == "true", q.Get("after"), limit)
	if err != nil {
		return nil, err
	}
	list := mailsView{Mails: make([]mailView, 0, len(found)), Server: viewServer(a.mailServer())}
	list.Server.Configured = a.sendsMail
	for _, m := range found {
		list.Mails = append(list.Mails, a.viewMail(m))
	}
	if len(found) == limit {
		list.Next = found[len(found)-1].ID
	}
	return list, nil
}

func viewServer(s notify.ServerStatus) serverView {
	return serverView{Trouble: s.Trouble, Next: s.Next}
}

func (a *admin) mailGet(caller auth.Caller, r *http.Request) (any, error) {
	return a.mail(a.mails.Get(r.Context(), caller, r.PathValue("id")))
}

func (a *admin) mailRetry(caller auth.Caller, r *http.Request) (any, error) {
	if err := noBody(r); err != nil {
		return nil, err
	}
	return a.mail(a.mails.Retry(r.Context(), caller, r.PathValue("id")))
}

func (a *admin) mailCancel(caller auth.Caller, r *http.Request) (any, error) {
	if err := noBody(r); err != nil {
		return nil, err
	}
	return a.mail(a.mails.Cancel(r.Context(), caller, r.PathValue("id")))
}

func (a *admin) mail(m *ra.Mail, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.viewMail(m), nil
}
