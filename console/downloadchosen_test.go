package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// chosenKey is a link whose password was chosen when it was made.
type chosenKey struct{ *oneKey }

func (k chosenKey) Linked(ctx context.Context, secret string) (*ra.Download, *ra.Enrollment, error) {
	d, e, err := k.oneKey.Linked(ctx, secret)
	if err == nil {
		d.Sealed = []byte("sealed")
	}
	return d, e, err
}

// TestPasswordOfTheLink: the page asks for none, the file is under the one of the link, and another one is no way in.
func TestPasswordOfTheLink(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	k, d, _ := newOneKey(t, ra.Offer{Format: bundle.EncryptedKey.String(), Password: password})
	d.Keys = chosenKey{k}
	page := d.get(t, http.MethodGet, goodSecret)
	if text := page.Body.String(); page.Code != http.StatusOK || strings.Contains(text, `name="password"`) || strings.Contains(text, "not encrypted") ||
		strings.Contains(text, password) || !strings.Contains(text, "chosen when this link was made") {
		t.Errorf("status %d: %s", page.Code, text)
	}
	if w := d.post(t, goodSecret, url.Values{"password": {"another horse"}}, nil); w.Code != http.StatusBadRequest || k.used > 0 || strings.Contains(w.Body.String(), password) {
		t.Errorf("another password: status %d: %s", w.Code, w.Body)
	}
	w := d.post(t, goodSecret, url.Values{}, nil)
	if _, err := bundle.ParseKey(w.Body.Bytes(), []byte(password)); w.Code != http.StatusOK || err != nil || k.used != 1 {
		t.Errorf("status %d: %v", w.Code, err)
	}
	secured(t, w)
}
