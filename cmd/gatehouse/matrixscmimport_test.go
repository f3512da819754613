package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// importZip sends a form with a zip of nothing for an organisation. Who may import is told that it is none; all others are to be refused
// before.
func (h *scmHouse) importZip(org auth.OrgID, token string) *httptest.ResponseRecorder {
	const body = "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nno zip\r\n--b--\r\n"
	r := httptest.NewRequest(http.MethodPost, fmt.Sprintf("/api/ssl/v1/import?orgId=%d", org), strings.NewReader(body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.RemoteAddr = h.address()
	w := httptest.NewRecorder()
	h.core.doors.ServeHTTP(w, r)
	return w
}

// zipRefused demands of strangers' zips what is demanded of their JSON.
func (h *scmHouse) zipRefused(t *testing.T, s stranger, org auth.OrgID, token string) {
	t.Helper()
	switch w := h.importZip(org, token); s {
	case otherTenant:
		scmRefused(t, http.MethodPost, w, http.StatusBadRequest, -639)
		if absent := h.importZip(4711, token); scmShape(w) != scmShape(absent) {
			t.Errorf("another's is answered with %s, and what there is not with %s", w.Body, absent.Body)
		}
	case lowerRole:
		scmRefused(t, http.MethodPost, w, http.StatusBadRequest, -3)
	default:
		scmRefused(t, http.MethodPost, w, http.StatusUnauthorized, -16)
	}
}
