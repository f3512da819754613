package console_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// browser is a page in chromium that runs no scripts, driven by the DevTools protocol.
type browser struct {
	*testing.T
	conn *websocket.Conn
	last int
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	testneed.Programs(t, "chromium")
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	// The sandbox needs what root in a container lacks; nothing is visited but the test's own pages.
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--host-resolver-rules=MAP ca.example.com 127.0.0.1", "--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "about:blank")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	t.Cleanup(func() { cancel(); <-read; _ = cmd.Wait() })
	address := make(chan string, 1)
	go func() {
		defer close(read)
		defer close(address)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if _, at, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
				host, _, _ := strings.Cut(at, "/")
				address <- host
			}
		}
	}()
	host, ok := <-address
	if !ok {
		t.Fatal("chromium does not say where it listens")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+host+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var target struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&target); err != nil {
		t.Fatal(err)
	}
	b := &browser{T: t}
	if b.conn, err = websocket.Dial(target.WebSocketDebuggerURL, "", "http://"+host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.conn.Close() })
	_ = b.conn.SetDeadline(time.Now().Add(90 * time.Second))
	b.do("Page.enable", nil, nil)
	b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	return b
}

// message is what comes from chromium.
type message struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  *struct{ Message string }
}

func (b *browser) receive() message {
	b.Helper()
	var m message
	if err := websocket.JSON.Receive(b.conn, &m); err != nil {
		b.Fatal(err)
	}
	return m
}

// do calls a method and waits for its result.
func (b *browser) do(method string, params, result any) {
	b.Helper()
	b.last++
	if params == nil {
		params = struct{}{}
	}
	if err := websocket.JSON.Send(b.conn, map[string]any{"id": b.last, "method": method, "params": params}); err != nil {
		b.Fatal(err)
	}
	for {
		m := b.receive()
		if m.ID != b.last {
			continue
		}
		if m.Error != nil {
			b.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
}

// open visits a page at a width, light or dark.
func (b *browser) open(url string, width int, scheme string) {
	b.Helper()
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.do("Page.navigate", map[string]any{"url": url}, nil)
	b.loaded()
}

func (b *browser) loaded() {
	b.Helper()
	for b.receive().Method != "Page.loadEventFired" {
	}
}

// node finds an element.
func (b *browser) node(selector string) int {
	b.Helper()
	var document struct{ Root struct{ NodeID int } }
	b.do("DOM.getDocument", nil, &document)
	var found struct{ NodeID int }
	b.do("DOM.querySelector", map[string]any{"nodeId": document.Root.NodeID, "selector": selector}, &found)
	if found.NodeID == 0 {
		b.Fatalf("the page has no %s", selector)
	}
	return found.NodeID
}

// click presses the left button in the middle of an element, and waits for the page that follows.
func (b *browser) click(selector string) {
	b.Helper()
	var box struct{ Model struct{ Content []float64 } }
	node := b.node(selector)
	b.do("DOM.scrollIntoViewIfNeeded", map[string]any{"nodeId": node}, nil)
	b.do("DOM.getBoxModel", map[string]any{"nodeId": node}, &box)
	c := box.Model.Content
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": (c[0] + c[4]) / 2, "y": (c[1] + c[5]) / 2, "button": "left", "clickCount": 1}, nil)
	}
	b.loaded()
}

// heading is the page's.
func (b *browser) heading() string {
	b.Helper()
	var html struct{ OuterHTML string }
	b.do("DOM.getOuterHTML", map[string]any{"nodeId": b.node("h1")}, &html)
	return html.OuterHTML
}

// styled reports whether the style was applied: it is hidden by nothing but the policy's hash.
func (b *browser) styled() bool {
	b.Helper()
	b.do("DOM.enable", nil, nil)
	b.do("CSS.enable", nil, nil)
	var style struct {
		ComputedStyle []struct{ Name, Value string }
	}
	b.do("CSS.getComputedStyleForNode", map[string]any{"nodeId": b.node("main")}, &style)
	for _, p := range style.ComputedStyle {
		if p.Name == "max-width" {
			return p.Value == "640px"
		}
	}
	return false
}

// picture keeps a screenshot where GATEHOUSE_SCREENSHOTS names a folder.
func (b *browser) picture(name string) {
	b.Helper()
	dir := os.Getenv("GATEHOUSE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	raw, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644)
	}
	if err != nil {
		b.Error(err)
	}
}

// TestThePageInABrowser without JavaScript: it is styled, fits narrow and wide screens, and its buttons answer.
func TestThePageInABrowser(t *testing.T) {
	b, s := newBrowser(t), newSite(t)
	s.set(func(e *emails) {
		e.question.Organisation, e.question.Domain = "Sales of Example", "a-rather-long-name-of-a-host-in-the-third-department.shop.example.com"
	})
	link := s.url + "/dcv/email/" + linkID
	for _, width := range []int{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.open(link+"/"+linkCode, width, scheme)
			var metrics struct{ CSSContentSize struct{ Width float64 } }
			b.do("Page.getLayoutMetrics", nil, &metrics)
			if metrics.CSSContentSize.Width > float64(width) {
				t.Errorf("at %d pixels the page is %v wide", width, metrics.CSSContentSize.Width)
			}
			if !b.styled() {
				t.Errorf("at %d pixels, %s: the page has no style", width, scheme)
			}
			b.picture(fmt.Sprintf("ask-%d-%s", width, scheme))
		}
	}
	if n := s.answered(); n != 0 {
		t.Fatalf("looking at the page gives %d answers", n)
	}
	b.open(link, 360, "light")
	b.picture("code-360-light")
	b.node("#code")
	b.open(link+"/"+linkCode, 360, "light")
	b.click(`button[value="reject"]`)
	if s.state() != ra.EmailRejected || !strings.Contains(b.heading(), "was refused") {
		t.Errorf("%s, %s", s.state(), b.heading())
	}
	b.picture("rejected-360-light")
	s.set(func(e *emails) { e.question.State = ra.EmailPending })
	b.open(link+"/"+linkCode, 1280, "dark")
	b.click(`button[value="confirm"]`)
	if s.state() != ra.EmailConfirmed || !strings.Contains(b.heading(), "is confirmed") || s.answered() != 2 {
		t.Errorf("%s, %s, %d answers", s.state(), b.heading(), s.answered())
	}
	b.picture("confirmed-1280-dark")
	b.open(link+"/"+linkCode, 1280, "dark")
	if !strings.Contains(b.heading(), "is confirmed") || s.answered() != 2 {
		t.Errorf("opened again: %s, %d answers", b.heading(), s.answered())
	}
	// Over plain HTTP a browser does not say that a POST comes from the page, but by its Origin.
	s.set(func(e *emails) { e.question.State = ra.EmailPending })
	b.open(strings.Replace(link, "127.0.0.1", "ca.example.com", 1)+"/"+linkCode, 1280, "light")
	b.click(`button[value="confirm"]`)
	if s.state() != ra.EmailConfirmed || !strings.Contains(b.heading(), "is confirmed") {
		t.Errorf("over plain HTTP: %s, %s", s.state(), b.heading())
	}
}
