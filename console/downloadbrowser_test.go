package console_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const linkSecret = "AAAAAAAAAAAAAAAAAAAAAA"

// keyLink is a link to a key, which serves once.
type keyLink struct {
	offer ra.Offer
	names []identifier.Identifier
	file  ra.KeyFile

	mu   sync.Mutex
	used int
}

func (l *keyLink) Linked(context.Context, string) (*ra.Download, *ra.Enrollment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used > 0 {
		return nil, nil, problem.New(problem.NotFound, "this link cannot be used")
	}
	return &ra.Download{Offer: l.offer, By: "user:1804289383", Expires: time.Date(2026, 3, 2, 12, 15, 0, 0, time.UTC)},
		&ra.Enrollment{Names: l.names, Serial: "796f9e775b962741efcef23ee1aec663e9", NotAfter: time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)}, nil
}

func (l *keyLink) TakeDownload(_ context.Context, _, _ string, write func(ra.KeyFile) ([]byte, error)) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file
	f.Offer = l.offer
	data, err := write(f)
	if err == nil {
		l.used++
	}
	return data, err
}

func (l *keyLink) set(offer ra.Offer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offer, l.used = offer, 0
}

// newKeyLink serves the page of a link at an address.
func newKeyLink(t *testing.T) (l *keyLink, url string) {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := h.Leaf("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l = &keyLink{file: ra.KeyFile{Key: leaf.PrivateKey, Certificate: leaf.Certificate[0], Issuer: "main"}}
	for _, text := range []string{"a-rather-long-name-of-a-host-in-the-third-department.shop.example.com", "www.example.com", "*.example.com"} {
		name, err := identifier.ParseDNS(text)
		if err != nil {
			t.Fatal(err)
		}
		l.names = append(l.names, name)
	}
	d, err := console.NewDownloads(console.DownloadsConfig{
		Keys: l, Remote: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.9") },
		Chain: func(string) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Intermediate.Certificate.Raw})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(d.Handler())
	t.Cleanup(server.Close)
	return l, server.URL + console.DownloadPath + linkSecret
}

// downloaded waits for a file that the browser has written whole.
func (b *browser) downloaded(dir, name string) []byte {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && len(data) > 0 {
			return data
		}
		if time.Now().After(deadline) {
			b.Fatalf("no file %s: %v", name, err)
		}
	}
}

// press presses a button behind which no page follows, but a file.
func (b *browser) press(selector string) {
	b.Helper()
	b.do("DOM.focus", map[string]any{"nodeId": b.node(selector)}, nil)
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}, nil)
	}
}

// TestADownloadInABrowser without JavaScript: the page is styled and fits, a password that does not do takes nothing, and the file
// arrives by each of its buttons.
func TestADownloadInABrowser(t *testing.T) {
	b := newBrowser(t)
	l, url := newKeyLink(t)
	dir := t.TempDir()
	b.do("Browser.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": dir}, nil)
	offers := map[string]ra.Offer{"encrypted": {Format: "pkcs12", Content: "chain"}, "clear": {Format: "key", Clear: true}}
	for kind, offer := range offers {
		l.set(offer)
		for width, scheme := range map[int]string{360: "light", 1280: "dark"} {
			b.open(url, width, scheme)
			var metrics struct{ CSSContentSize struct{ Width float64 } }
			b.do("Page.getLayoutMetrics", nil, &metrics)
			if metrics.CSSContentSize.Width > float64(width) {
				t.Errorf("%s, at %d pixels the page is %v wide", kind, width, metrics.CSSContentSize.Width)
			}
			if !b.styled() {
				t.Errorf("%s, at %d pixels, %s: the page has no style", kind, width, scheme)
			}
			b.picture(fmt.Sprintf("download-%s-%d-%s", kind, width, scheme))
		}
	}
	name := l.names[0].Value()
	l.set(offers["encrypted"])
	b.open(url, 360, "light")
	b.do("DOM.setAttributeValue", map[string]any{"nodeId": b.node(`input[type="hidden"]`), "name": "value", "value": "short"}, nil)
	b.click("button.other")
	b.picture("download-fault-360-light")
	b.node(`p[role="alert"]`)
	b.do("DOM.setAttributeValue", map[string]any{"nodeId": b.node("#password"), "name": "value", "value": "correct horse"}, nil)
	b.press(`form button:not(.other)`)
	if file := b.downloaded(dir, name+".p12"); len(file) < 1000 {
		t.Errorf("the file has %d octets", len(file))
	}
	l.set(offers["clear"])
	b.open(strings.Replace(url, "127.0.0.1", "ca.example.com", 1), 1280, "light") // plain HTTP
	b.press("button")
	key, err := bundle.ParseKey(b.downloaded(dir, name+"."+bundle.Key.Extension()), nil)
	if err != nil || key == nil {
		t.Errorf("the key in clear: %v", err)
	}
	b.open(url, 360, "light")
	b.picture("download-used-360-light")
	if !strings.Contains(b.heading(), "nothing to download") {
		t.Errorf("afterwards: %s", b.heading())
	}
}
