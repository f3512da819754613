package scm

import (
	"testing"

	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestDecide(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b"} {
		w.issue("rex", "approved", name+".example.com")
	}
	w.issue("ada", "approved", "c.example.com")
	w.issue("rex", "tls", "d.example.com")
	const yes = `{"message":"fine"}`
	w.goldens([]exchange{
		{"approve-requester", "rex", "POST", "/api/ssl/v2/approve/1", yes},
		{"approve-own", "ada", "POST", "/api/ssl/v2/approve/3", yes},
		{"approve-auditor", "aud", "POST", "/api/ssl/v2/approve/1", yes},
		{"approve-foreign", "olga", "POST", "/api/ssl/v2/approve/1", yes},
		{"approve-no-id", "may", "POST", "/api/ssl/v2/approve/4711", yes},
		{"approve-odd-id", "may", "POST", "/api/ssl/v2/approve/x", yes},
		{"approve-without-message", "may", "POST", "/api/ssl/v2/approve/1", `{"message":""}`},
		{"approve-long-message", "may", "POST", "/api/ssl/v2/approve/1", `{"message":` + long(513) + `}`},
		{"approve-without-body", "may", "POST", "/api/ssl/v2/approve/1", ``},
		{"approve-issued", "may", "POST", "/api/ssl/v2/approve/4", yes},
	})
	if e := w.enrollment(1); e.Phase != ra.Waiting {
		t.Fatalf("it is in phase %d", e.Phase)
	}
	w.goldens([]exchange{
		{"approve", "may", "POST", "/api/ssl/v2/approve/1", yes},
		{"decline", "may", "POST", "/api/ssl/v1/decline/2", `{"message":"no such\nhost"}`},
		{"approve-declined", "may", "POST", "/api/ssl/v2/approve/2", yes},
		{"decline-issued", "may", "POST", "/api/ssl/v2/decline/1", yes},
		{"decline-without-message", "may", "POST", "/api/ssl/v2/decline/3", `{}`},
	})
	if a, b := w.enrollment(1), w.enrollment(2); a.Phase != ra.Issued || b.Phase != ra.Declined || b.Failure.Detail != "no such host" {
		t.Errorf("they are %+v and %+v", a, b)
	}
}
