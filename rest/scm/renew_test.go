package scm

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestRenewByID(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		w.issue("rex", "tls", name+".example.com")
	}
	w.issue("rex", "approved", "e.example.com")
	w.goldens([]exchange{ // 6 to 9
		{"renewbyid", "rex", "POST", "/api/ssl/v2/renewById/1", ``},
		{"renewbyid-quotes", "rex", "POST", "/api/ssl/v1/renewById/2", `""`},
		{"renewbyid-object", "rex", "POST", "/api/ssl/v1/renewById/3", `{}`},
		{"renewbyid-csr", "rex", "POST", "/api/ssl/v2/renewById/4", fmt.Sprintf(`{"csr":%s,"dcvMode":"CNAME"}`, w.jsonCSR("d.example.com"))},
	})
	for id := ra.ID(1); id <= 4; id++ {
		if e := w.enrollment(id + 5); e.Phase != ra.Issued || e.Replaces != id || e.Door != ra.DoorSCM {
			t.Errorf("the renewal is %+v", e)
		}
	}
	w.goldens([]exchange{
		{"renewbyid-again", "rex", "POST", "/api/ssl/v2/renewById/1", ``},
		{"renewbyid-waiting", "rex", "POST", "/api/ssl/v2/renewById/5", ``},
		{"renewbyid-foreign", "olga", "POST", "/api/ssl/v2/renewById/6", ``},
		{"renewbyid-no-id", "rex", "POST", "/api/ssl/v2/renewById/4711", ``},
		{"renewbyid-auditor", "aud", "POST", "/api/ssl/v2/renewById/6", ``},
		{"renewbyid-other-names", "rex", "POST", "/api/ssl/v2/renewById/6", fmt.Sprintf(`{"csr":%s}`, w.jsonCSR("x.example.com"))},
		{"renewbyid-no-base64", "rex", "POST", "/api/ssl/v2/renewById/6", `{"csr":"&"}`},
		{"renewbyid-array", "rex", "POST", "/api/ssl/v2/renewById/6", `[]`},
	})
	if n := w.total(); n != 9 {
		t.Errorf("there are %d enrollments", n)
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	e := w.issue("rex", "tls", "a.example.com")
	w.hides(e.RenewID(), "RENEWID")
	path := "/api/ssl/v2/renew/" + e.RenewID()
	w.goldens([]exchange{
		{"renew-foreign", "olga", "POST", path, ``},
		{"renew-auditor", "aud", "POST", path, ``},
		{"renew-no-id", "rex", "POST", "/api/ssl/v2/renew/AAAAAAAAAAAAAAAAAAAA", ``},
		{"renew", "rex", "POST", path, `{}`},
		{"renew-again", "rex", "POST", path, ``},
	})
	if e := w.enrollment(2); e.Phase != ra.Issued || e.Replaces != 1 {
		t.Errorf("the renewal is %+v", e)
	}
}

func TestRenewManual(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "tls", "a.example.com")
	w.issue("rex", "tls", "b.example.com")
	w.issue("rex", "approved", "c.example.com")
	w.goldens([]exchange{
		{"manual-foreign", "olga", "POST", "/api/ssl/v2/renew/manual/1", ``},
		{"manual-auditor", "aud", "POST", "/api/ssl/v2/renew/manual/1", ``},
		{"manual-order", "rex", "POST", "/api/ssl/v2/renew/manual/1", `{"orderNumber":"123"}`},
		{"manual-itself", "rex", "POST", "/api/ssl/v2/renew/manual/1", `{"id":1}`},
		{"manual-waiting", "rex", "POST", "/api/ssl/v2/renew/manual/3", ``},
		{"manual", "rex", "POST", "/api/ssl/v2/renew/manual/1", `{"id":2}`},
		{"manual-nobody", "rex", "POST", "/api/ssl/v1/renew/manual/2", ``},
	})
	if a, b := w.enrollment(1), w.enrollment(2); a.RenewedManually.IsZero() || b.Replaces != 1 || b.RenewedManually.IsZero() {
		t.Errorf("they are %+v and %+v", a, b)
	}
}

// TestReplacedIsRevoked: what a number stands for is revoked by it, and what it stood for by its serial number.
func TestReplacedIsRevoked(t *testing.T) {
	w := newWorld(t)
	first := w.issue("rex", "tls", "a.example.com")
	w.call("rex", "POST", "/api/ssl/v2/replace/1", fmt.Sprintf(`{"csr":%s,"reason":"lost"}`, w.jsonCSR("a.example.com")), 204)
	w.call("ada", "POST", "/api/ssl/v2/revoke/1", `{"reason":"lost as well"}`, 204)
	if a, b := w.enrollment(1), w.enrollment(2); a.Phase != ra.Issued || b.Phase != ra.Revoked {
		t.Errorf("they are in phases %d and %d", a.Phase, b.Phase)
	}
	if shown := object(t, w.call("rex", "GET", "/api/ssl/v2/1", "", 200).Body.Bytes()); shown["status"] != "Revoked" {
		t.Errorf("it is shown as %v", shown)
	}
	w.call("ada", "POST", "/api/ssl/v2/revoke/serial/"+string(first.Serial), `{"reason":"lost"}`, 204)
	if a := w.enrollment(1); a.Phase != ra.Revoked {
		t.Errorf("it is in phase %d", a.Phase)
	}
}

// TestReplace: to a client a certificate and what replaces it are one number.
func TestReplace(t *testing.T) {
	w := newWorld(t)
	first := w.issue("rex", "tls", "a.example.com")
	w.issue("rex", "approved", "b.example.com")
	csr := w.jsonCSR("a.example.com", "c.example.com")
	good := fmt.Sprintf(`{"csr":%s,"reason":"lost","commonName":"a.example.com","subjectAlternativeNames":["a.example.com","c.example.com"]}`, csr)
	w.goldens([]exchange{
		{"replace-foreign", "olga", "POST", "/api/ssl/v2/replace/1", good},
		{"replace-auditor", "aud", "POST", "/api/ssl/v2/replace/1", good},
		{"replace-without-reason", "rex", "POST", "/api/ssl/v2/replace/1", with(t, good, "reason", "")},
		{"replace-without-csr", "rex", "POST", "/api/ssl/v2/replace/1", with(t, good, "csr", "")},
		{"replace-long-reason", "rex", "POST", "/api/ssl/v2/replace/1", with(t, good, "reason", long(513))},
		{"replace-bad-name", "rex", "POST", "/api/ssl/v2/replace/1", with(t, good, "subjectAlternativeNames", `["a b"]`)},
		{"replace-waiting", "rex", "POST", "/api/ssl/v2/replace/2", good},
		{"replace-no-id", "rex", "POST", "/api/ssl/v2/replace/4711", good},
		{"replace", "rex", "POST", "/api/ssl/v2/replace/1", good},
		{"replace-null-names", "rex", "POST", "/api/ssl/v1/replace/1", fmt.Sprintf(`{"csr":%s,"reason":"","subjectAlternativeNames":null}`, w.jsonCSR("a.example.com", "c.example.com"))},
	})
	second, third := w.enrollment(3), w.enrollment(4)
	if second.Replaces != 1 || third.Replaces != 3 || third.Phase != ra.Issued || third.ReplaceReason != "" || len(third.Names) != 2 {
		t.Fatalf("they are %+v and %+v", second, third)
	}
	shown := object(t, w.call("rex", "GET", "/api/ssl/v2/1", "", 200).Body.Bytes())
	if shown["id"] != 1.0 || shown["sslId"] != 1.0 || shown["serialNumber"] != colons(string(third.Serial)) || shown["status"] != "Issued" {
		t.Errorf("it is shown as %v", shown)
	}
	collected, err := bundle.Read(w.golden("replace-collect", "rex", "GET", "/api/ssl/v2/collect/1/x509CO", "").Body.Bytes())
	must(t, err)
	if sha256.Sum256(collected[0]) != third.Fingerprint {
		t.Error("another certificate is collected than the newest")
	}
	// Its number and its renew id renew what stands for it now.
	w.call("rex", "POST", "/api/ssl/v2/renew/"+first.RenewID(), "", 204)
	if e := w.enrollment(5); e.Replaces != 4 {
		t.Errorf("the renewal takes the place of %d", e.Replaces)
	}
}
