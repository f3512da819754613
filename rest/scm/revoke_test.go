package scm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const why = `{"reason":"the key\nis lost","reasonCode":"1"}`

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	e := w.issue("ada", "tls", "a.example.com")
	path := fmt.Sprintf("/api/ssl/v2/revoke/%d", e.ID)
	w.golden("revoke-no-reason", "ada", "POST", path, `{"reasonCode":1}`)
	w.golden("revoke-reason-type", "ada", "POST", path, `{"reason":7}`)
	w.golden("revoke-reason-code", "ada", "POST", path, `{"reason":"x","reasonCode":6}`)
	w.golden("revoke-no-body", "ada", "POST", path, "")
	w.golden("revoke-twice-the-member", "ada", "POST", path, `{"reason":"x","reason":"y"}`)
	w.golden("revoke-no-right", "aud", "POST", path, why)
	w.golden("revoke-foreign", "olga", "POST", path, why)
	w.golden("revoke-absent", "olga", "POST", "/api/ssl/v2/revoke/4711", why)
	if now, err := w.Registrar.Get(t.Context(), operator, e.ID); err != nil || now.Phase != ra.Issued {
		t.Fatalf("it is %+v, %v", now, err)
	}
	w.golden("revoke", "ada", "POST", path, why)
	now, err := w.Registrar.Get(t.Context(), operator, e.ID)
	if must(t, err); now.Phase != ra.Revoked || now.Revocation.Reason != 1 || now.Revocation.Comment != "the key is lost" {
		t.Errorf("it is revoked with %+v", now.Revocation)
	}
	w.golden("revoke-again", "ada", "POST", path, why)
	w.golden("details-revoked", "ada", "GET", fmt.Sprintf("/api/ssl/v2/%d", e.ID), "")
	waiting := w.issue("ada", "approved", "d.example.com")
	w.golden("revoke-not-issued", "ada", "POST", fmt.Sprintf("/api/ssl/v2/revoke/%d", waiting.ID), why)
}

func TestRevokeBySerial(t *testing.T) {
	w := newWorld(t)
	path := "/api/ssl/v1/revoke/serial/"
	foreign := w.issue("olga", "other", "o.example.com")
	for name, serial := range map[string]func(string) string{
		"colons": colons, "hex": func(s string) string { return s },
		"escaped": func(s string) string { return colons(s)[:2] + "%3A" + colons(s)[3:] },
	} {
		e := w.issue("ada", "tls", name+".example.com")
		w.call("rex", "POST", path+serial(string(e.Serial)), `{"reason":"x"}`, 204)
		if now, err := w.Registrar.Get(t.Context(), operator, e.ID); err != nil || now.Phase != ra.Revoked {
			t.Errorf("%s: it is %+v, %v", name, now, err)
		}
	}
	w.golden("revoke-serial-foreign", "ada", "POST", path+string(foreign.Serial), why)
	w.golden("revoke-serial-absent", "ada", "POST", path+"01ab", why)
	w.golden("revoke-serial-bad", "ada", "POST", path+"none", why)
	// A serial number where the number belongs.
	e := w.issue("ada", "tls", "z.example.com")
	w.golden("revoke-serial-as-number", "ada", "POST", "/api/ssl/v1/revoke/"+string(e.Serial), why)
	w.golden("revoke-serial-as-number-foreign", "ada", "POST", "/api/ssl/v1/revoke/"+string(foreign.Serial), why)
}

// TestRevokeByReplacedSerial: a serial number means the very certificate that has it, also where the number belongs.
func TestRevokeByReplacedSerial(t *testing.T) {
	w := newWorld(t)
	first := w.issue("rex", "tls", "a.example.com")
	w.call("rex", "POST", "/api/ssl/v2/replace/1", fmt.Sprintf(`{"csr":%s,"reason":"lost"}`, w.jsonCSR("a.example.com")), 204)
	w.call("rex", "POST", "/api/ssl/v2/revoke/"+string(first.Serial), why, 204)
	if a, b := w.enrollment(1), w.enrollment(2); a.Phase != ra.Revoked || b.Phase != ra.Issued {
		t.Errorf("they are in phases %d and %d", a.Phase, b.Phase)
	}
}

// TestRevokeBeforeReplaced: clients read -102 as "revoked already", so a replacement that is not issued yet must not keep the
// certificate from being revoked, and an imported one has another number.
func TestRevokeBeforeReplaced(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "approved", "a.example.com")
	w.call("may", "POST", "/api/ssl/v2/approve/1", `{"message":"fine"}`, 204)
	w.call("rex", "POST", "/api/ssl/v2/replace/1", fmt.Sprintf(`{"csr":%s,"reason":"lost"}`, w.jsonCSR("a.example.com")), 204)
	if e := w.enrollment(2); e.Phase != ra.Waiting || e.Replaces != 1 {
		t.Fatalf("the replacement is %+v", e)
	}
	w.call("olga", "POST", "/api/ssl/v2/revoke/1", why, 400)
	w.call("aud", "POST", "/api/ssl/v2/revoke/1", why, 400)
	w.call("rex", "POST", "/api/ssl/v2/revoke/1", why, 204)
	if a, b := w.enrollment(1), w.enrollment(2); a.Phase != ra.Revoked || b.Phase != ra.Waiting {
		t.Errorf("they are in phases %d and %d", a.Phase, b.Phase)
	}
	if rec := w.call("rex", "POST", "/api/ssl/v2/revoke/1", why, 400); !strings.Contains(rec.Body.String(), `"code":-102,`) {
		t.Errorf("again: %s", rec.Body)
	}
	foreign := w.imported("ada", "a.example.net")
	rec := w.call("ada", "POST", fmt.Sprintf("/api/ssl/v2/revoke/%d", foreign.ID), why, 400)
	if !strings.Contains(rec.Body.String(), `"code":-130,`) {
		t.Errorf("imported: %s", rec.Body)
	}
}

// imported is an enrollment of main's with a certificate of another CA.
func (w *world) imported(login, name string) *ra.Enrollment {
	w.t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(w.t, err)
	leaf, err := h.Leaf(name)
	must(w.t, err)
	list, err := w.Registrar.Import(w.t.Context(), w.callers[login], ra.DoorSCM, []ra.ImportItem{{Certificate: leaf.Certificate[0]}})
	must(w.t, err)
	must(w.t, list[0].Err)
	w.hidesSerial(list[0].Enrollment)
	return list[0].Enrollment
}

func TestRevokeManual(t *testing.T) {
	w := newWorld(t)
	path := "/api/ssl/v2/revoke/manual"
	e, own := w.imported("ada", "a.example.net"), w.issue("ada", "tls", "a.example.com")
	w.wait(time.Hour)
	byID := func(e *ra.Enrollment, more string) string {
		return fmt.Sprintf(`{"certId":%d,"serialNumber":null,"issuer":null%s}`, e.ID, more)
	}
	w.golden("revoke-manual-nothing", "ada", "POST", path, `{"certId":null}`)
	w.golden("revoke-manual-own", "ada", "POST", path, byID(own, ""))
	w.golden("revoke-manual-foreign", "olga", "POST", path, byID(e, ""))
	w.golden("revoke-manual-date", "ada", "POST", path, byID(e, `,"revokeDate":"yesterday"`))
	w.golden("revoke-manual-future", "ada", "POST", path, byID(e, `,"revokeDate":"2027-01-01T00:00:00.000+00:00"`))
	w.golden("revoke-manual-issuer", "ada", "POST", path, `{"serialNumber":"`+string(e.Serial)+`","issuer":"CN=nobody"}`)
	w.golden("revoke-manual", "ada", "POST", path, byID(e, `,"revokeDate":"2026-03-02T12:30:00.000+00:00","reasonCode":4`))
	now, err := w.Registrar.Get(t.Context(), operator, e.ID)
	if must(t, err); now.Phase != ra.Revoked || now.Revocation.Reason != 4 || now.Revocation.At.Format("15:04") != "12:30" {
		t.Errorf("it is marked with %+v", now.Revocation)
	}
	other := w.imported("ada", "b.example.net")
	w.golden("revoke-manual-serial", "ada", "POST", path, `{"serialNumber":"`+colons(string(other.Serial))+`"}`)
}

// TestRevokeManualOfTwo: one certificate that two organisations have imported is marked in neither unless one of them is named.
func TestRevokeManualOfTwo(t *testing.T) {
	w := newWorld(t)
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(t, err)
	leaf, err := h.Leaf("a.example.net")
	must(t, err)
	list, err := w.Registrar.Import(t.Context(), w.callers["ada"], ra.DoorSCM, []ra.ImportItem{{Certificate: leaf.Certificate[0]}, {Org: 3, Certificate: leaf.Certificate[0]}})
	must(t, err)
	must(t, list[1].Err)
	issuer := h.Intermediate.Certificate.Subject.String()
	body := fmt.Sprintf(`{"serialNumber":%q,"issuer":%q}`, string(list[0].Enrollment.Serial), issuer)
	if rec := w.call("ada", "POST", "/api/ssl/v2/revoke/manual", body, 400); !strings.Contains(rec.Body.String(), `"code":-130,`) {
		t.Errorf("%s", rec.Body)
	}
	for _, one := range list {
		if e := w.enrollment(one.Enrollment.ID); e.Phase != ra.Issued {
			t.Errorf("%d is in phase %d", e.ID, e.Phase)
		}
	}
	w.call("ada", "POST", "/api/ssl/v2/revoke/manual", fmt.Sprintf(`{"certId":%d}`, list[1].Enrollment.ID), 204)
	w.call("rex", "POST", "/api/ssl/v2/revoke/manual", fmt.Sprintf(`{"certId":%d}`, list[0].Enrollment.ID), 204)
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	e, own := w.imported("ada", "a.example.net"), w.issue("ada", "tls", "a.example.com")
	path := func(e *ra.Enrollment) string { return fmt.Sprintf("/api/ssl/v2/%d", e.ID) }
	w.golden("details-imported", "ada", "GET", path(e), "")
	w.golden("delete-own", "ada", "DELETE", path(own), "")
	w.golden("delete-no-right", "aud", "DELETE", path(e), "")
	w.golden("delete-foreign", "olga", "DELETE", path(e), "")
	w.golden("delete", "ada", "DELETE", path(e), "")
	w.golden("delete-again", "ada", "DELETE", path(e), "")
}

func TestLocations(t *testing.T) {
	w := newWorld(t)
	e := w.issue("ada", "tls", "a.example.com")
	path := fmt.Sprintf("/api/ssl/v1/%d/location", e.ID)
	w.golden("locations-none", "ada", "GET", path, "")
	w.golden("location-add", "ada", "POST", path, `{"details":{"host":"a1","port":"443"}}`)
	w.golden("location-add-nothing", "ada", "POST", path, `{"details":{}}`)
	w.golden("location-add-number", "ada", "POST", path, `{"details":{"port":443}}`)
	w.golden("location-add-no-right", "aud", "POST", path, `{"details":{"host":"a1"}}`)
	w.golden("location-add-foreign", "olga", "POST", path, `{"details":{"host":"a1"}}`)
	w.golden("locations", "aud", "GET", path, "")
	w.golden("locations-foreign", "olga", "GET", path, "")
	w.golden("location", "ada", "GET", path+"/1", "")
	w.golden("location-absent", "ada", "GET", path+"/2", "")
	w.golden("location-foreign", "olga", "GET", path+"/1", "")
	w.golden("location-bad", "ada", "GET", path+"/x", "")
	w.golden("location-bad-foreign", "olga", "GET", path+"/x", "")
	w.golden("location-set", "ada", "PUT", path+"/1", `{"details":{"host":"a2"}}`)
	w.golden("location-set-absent", "ada", "PUT", path+"/2", `{"details":{"host":"a2"}}`)
	w.golden("location-set-foreign", "olga", "PUT", path+"/1", `{"details":{"host":"a2"}}`)
	w.golden("location-after", "ada", "GET", path+"/1", "")
	w.golden("location-delete-no-right", "aud", "DELETE", path+"/1", "")
	w.golden("location-delete-foreign", "olga", "DELETE", path+"/1", "")
	w.golden("location-delete", "ada", "DELETE", path+"/1", "")
	w.golden("location-delete-again", "ada", "DELETE", path+"/1", "")
}
