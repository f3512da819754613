package acme

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// TestRenewalInfoByOperator: RFC 9773, 4.2: an operator's word makes the window earlier, never later, and names a page.
func TestRenewalInfoByOperator(t *testing.T) {
	w := newWorld(t)
	leaf := w.account().issued("a.example.com") // for a day
	path, at := "/acme/r/renewal-info/"+idOf(t, leaf), CertificateID{Issuer: "test", Serial: serialOf(leaf)}
	info := func(r *ca.Renewal, revoked *ca.Revocation) (window, any, string) {
		t.Helper()
		w.store.edit(func() { w.store.certificates[at].Renewal, w.store.certificates[at].Revocation = r, revoked })
		a := w.get(http.MethodGet, path).want(t, http.StatusOK)
		return windowOf(t, a), a.decode(t)["explanationURL"], a.header.Get("Retry-After")
	}
	ordinary, page, _ := info(nil, nil)
	if page != nil {
		t.Error("a page that nobody named:", page)
	}
	now := w.clock.now()
	early := &ca.Renewal{Start: now.Add(time.Minute), End: now.Add(time.Hour), Explanation: "https://status.example.com/7", At: now}
	if got, page, retry := info(early, nil); got != (window{early.Start, early.End}) || page != "https://status.example.com/7" || retry != "3600" {
		t.Errorf("%+v, %v, Retry-After %s", got, page, retry)
	}
	late := &ca.Renewal{Start: ordinary.start.Add(time.Second), End: ordinary.end.Add(time.Hour), At: now}
	if got, page, _ := info(late, nil); got != ordinary || page != nil {
		t.Errorf("a word makes the window later: %+v, %v", got, page)
	}
	// The certificate's own window has begun, and is open for longer than the operator wants to wait.
	for _, word := range []window{
		{ordinary.start.Add(time.Minute), ordinary.end.Add(-time.Minute)},
		{ordinary.start.Add(time.Second), ordinary.start.Add(time.Minute)},
	} {
		want := window{ordinary.start, word.end}
		if got, _, _ := info(&ca.Renewal{Start: word.start, End: word.end, At: now}, nil); got != want {
			t.Errorf("a word inside the ordinary window: %+v, want %+v", got, want)
		}
	}
	whole := &ca.Renewal{Start: now.Add(time.Minute), End: ordinary.end.Add(time.Hour), At: now}
	if got, _, _ := info(whole, nil); got != (window{whole.Start, ordinary.end}) {
		t.Errorf("a word moves the end of the window: %+v", got)
	}
	back := &ca.Renewal{Explanation: "https://status.example.com/7", At: now}
	if got, page, _ := info(back, nil); got != ordinary || page != nil {
		t.Errorf("taken back: %+v, %v", got, page)
	}
	// RFC 9773, 4.2: a revoked one's is in the past, whatever an operator said before.
	if got, page, _ := info(early, &ca.Revocation{At: now}); !got.end.Before(now) || page != "https://status.example.com/7" {
		t.Errorf("revoked: %+v, %v", got, page)
	}
	long := &ca.Certificate{Issued: now, Renewal: early}
	long.NotBefore, long.NotAfter = now, now.Add(90*24*time.Hour)
	if got := pollInterval(long); got != time.Hour {
		t.Errorf("while a word stands, it is asked every %v", got)
	}
}
