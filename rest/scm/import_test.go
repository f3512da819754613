package scm

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// foreign is a certificate that somebody else has issued, in base64.
func (w *world) foreign(names ...string) string {
	w.t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(w.t, err)
	leaf, err := h.Leaf(names...)
	must(w.t, err)
	return base64.StdEncoding.EncodeToString(leaf.Certificate[0])
}

var serialNumber = regexp.MustCompile(`"serialNumber":"([1-9A-F][0-9A-F]*)"`)

func TestImport(t *testing.T) {
	w := newWorld(t)
	cert := w.foreign("old.example.net")
	const path = "/api/ssl/v2/import"
	body := fmt.Sprintf(`[{"orgID":1,"cert":%q,"comments":"from elsewhere","externalRequester":"ann@example.com","backendCertId":"7","force":true},`+
		`{"orgID":1,"cert":%q},{"orgID":2,"cert":%q},{"orgID":1},{"orgID":1,"cert":"&"},{"orgID":1,"cert":"AAAA"},{"orgID":1,"cert":%q,"revokeDate":"2026-01-01T00:00:00.000+00:00"},`+
		`{"orgID":1,"cert":%q,"comments":%s}]`, cert, cert, cert, cert, cert, long(1025))
	rec := w.call("rex", "POST", path, body, 200)
	m := serialNumber.FindStringSubmatch(rec.Body.String())
	if m == nil {
		t.Fatalf("the answer is %s", rec.Body)
	}
	w.hides(`"serialNumber":"`+m[1]+`"`, `"serialNumber":"SERIAL"`)
	w.golden("import", "rex", "POST", path, body) // again: they are there already
	e := w.enrollment(1)
	if !e.Imported || e.Org != 1 || e.Door != ra.DoorSCM || e.Comments != "from elsewhere" || w.total() != 1 || !strings.Contains(rec.Body.String(), `"created":true`) {
		t.Errorf("it is %+v, of %d: %s", e, w.total(), rec.Body)
	}
	w.goldens([]exchange{
		{"import-auditor", "aud", "POST", path, fmt.Sprintf(`[{"orgID":1,"cert":%q}]`, cert)},
		{"import-object", "rex", "POST", path, `{}`},
		{"import-empty", "rex", "POST", path, `[]`},
		{"import-many", "rex", "POST", path, `[{}` + strings.Repeat(`,{}`, 128) + `]`},
		{"import-collect", "rex", "GET", "/api/ssl/v2/collect/1/x509CO", ""},
	})
	if w.total() != 1 {
		t.Errorf("there are %d enrollments", w.total())
	}
}
