package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// docsPage is one in chromium, driven by the DevTools protocol, with what it has asked for and what chromium has said of it.
type docsPage struct {
	t      *testing.T
	conn   *websocket.Conn
	last   int
	asked  []string // URLs
	faults []string // scripts that failed, and what a policy has forbidden
}

// newDocsPage starts chromium, which visits nothing but what the test names; its sandbox needs what root in a container lacks.
func newDocsPage(t *testing.T) *docsPage {
	t.Helper()
	testneed.Programs(t, "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "about:blank")
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
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
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var target struct{ WebSocketDebuggerURL string }
	must(t, json.NewDecoder(resp.Body).Decode(&target))
	p := &docsPage{t: t}
	p.conn, err = websocket.Dial(target.WebSocketDebuggerURL, "", "http://"+host)
	must(t, err)
	t.Cleanup(func() { _ = p.conn.Close() })
	_ = p.conn.SetDeadline(time.Now().Add(3 * time.Minute))
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		p.do(domain+".enable", nil, nil)
	}
	return p
}

// do calls a method and waits for its result.
func (p *docsPage) do(method string, params map[string]any, result any) {
	p.t.Helper()
	p.last++
	if params == nil {
		params = map[string]any{}
	}
	must(p.t, websocket.JSON.Send(p.conn, map[string]any{"id": p.last, "method": method, "params": params}))
	for {
		var m struct {
			ID     int
			Method string
			Params struct {
				Request          struct{ URL string }
				Entry            struct{ Source, Text string }
				ExceptionDetails struct{ Text string }
			}
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		must(p.t, websocket.JSON.Receive(p.conn, &m))
		switch {
		case m.Method == "Network.requestWillBeSent":
			p.asked = append(p.asked, m.Params.Request.URL)
		case m.Method == "Log.entryAdded" && m.Params.Entry.Source != "network": // an answer 401 is a line of the network's
			p.faults = append(p.faults, m.Params.Entry.Text)
		case m.Method == "Runtime.exceptionThrown":
			p.faults = append(p.faults, m.Params.ExceptionDetails.Text)
		case m.ID != p.last:
		case m.Error != nil:
			p.t.Fatalf("%s: %s", method, m.Error.Message)
		default:
			if result != nil {
				must(p.t, json.Unmarshal(m.Result, result))
			}
			return
		}
	}
}

// run runs a script in the page and reads its value, for which it waits.
func (p *docsPage) run(script string, into any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.do("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", script, answer.ExceptionDetails)
	}
	if into != nil {
		must(p.t, json.Unmarshal(answer.Result.Value, into))
	}
}

// wait waits until the page has an element.
func (p *docsPage) wait(selector string) {
	p.t.Helper()
	p.run(fmt.Sprintf(`new Promise((resolve) => {
		const look = () => document.querySelector(%[1]q) && resolve(true);
		new MutationObserver(look).observe(document, { childList: true, subtree: true });
		look();
	})`, selector), nil)
}

// open visits a page on a screen of a width.
func (p *docsPage) open(address string, width int) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	p.do("Page.navigate", map[string]any{"url": address}, nil)
}

// fits wants the page to be no wider than the screen, and names what is.
func (p *docsPage) fits(width int) {
	p.t.Helper()
	var found struct {
		Width int
		Parts []string
	}
	p.run(fmt.Sprintf(`({
		width: document.documentElement.scrollWidth,
		parts: [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > %d).map((e) => e.tagName + '.' + e.className).slice(0, 12),
	})`, width), &found)
	if found.Width > width {
		p.t.Errorf("at %d pixels the page is %d wide: %v", width, found.Width, found.Parts)
	}
}

// picture keeps a screenshot where GATEHOUSE_SCREENSHOTS names a folder.
func (p *docsPage) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("GATEHOUSE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	p.do("Page.captureScreenshot", nil, &shot)
	raw, err := base64.StdEncoding.DecodeString(shot.Data)
	must(p.t, err)
	must(p.t, os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644))
}

// TestTheDocsInABrowser opens /docs through a proxy that has put a path before it: every operation is shown, on narrow and wide screens,
// a call can be tried out, and neither the page nor the viewer asks for anything elsewhere or is stopped by the policy.
func TestTheDocsInABrowser(t *testing.T) {
	t.Parallel()
	p, g := newDocsPage(t), startGateway(t)
	proxy := httptest.NewServer(http.StripPrefix("/ca", &httputil.ReverseProxy{
		Transport: g.client().Transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: g.doors}) },
	}))
	t.Cleanup(proxy.Close)
	_, _, body := get(t, proxy.URL+"/ca/openapi/scm.json")
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	must(t, json.Unmarshal([]byte(body), &document))
	operations := 0
	for _, path := range document.Paths {
		for _, method := range []string{"get", "head", "put", "post", "delete"} {
			if _, ok := path[method]; ok {
				operations++
			}
		}
	}
	for _, width := range []int{360, 1280} {
		p.open(proxy.URL+"/ca/docs", width)
		p.wait(".opblock")
		var shown int
		p.run(`document.querySelectorAll('.opblock').length`, &shown)
		if shown != operations || operations < 30 {
			t.Errorf("at %d pixels %d of %d operations are shown", width, shown, operations)
		}
		p.fits(width)
		p.picture(fmt.Sprintf("docs-%d", width))
		p.run(`document.querySelector('#operations-profiles-listSslTypes .opblock-summary-control').click()`, nil)
		p.wait(".try-out__btn")
		p.run(`document.querySelector('.try-out__btn').click()`, nil)
		p.wait(".execute")
		p.run(`document.querySelector('.execute').click()`, nil)
		p.wait(".live-responses-table .response-col_status")
		var answer string
		p.run(`document.querySelector('.live-responses-table .response').innerText`, &answer)
		if !strings.Contains(answer, "401") || !strings.Contains(answer, "Unknown user") {
			t.Errorf("at %d pixels, the call that was tried out is answered with %s", width, answer)
		}
		p.run(`document.querySelector('.live-responses-table').scrollIntoView()`, nil)
		p.fits(width)
		p.picture(fmt.Sprintf("docs-tried-%d", width))
	}
	if !slices.Contains(p.asked, proxy.URL+"/ca/api/ssl/v2/types") {
		t.Errorf("the call that was tried out is not among %v", p.asked)
	}
	for _, address := range p.asked {
		if !strings.HasPrefix(address, proxy.URL+"/ca/") && !strings.HasPrefix(address, "data:") {
			t.Errorf("the page asks for %s", address)
		}
	}
	for _, fault := range p.faults {
		t.Errorf("the page: %s", fault)
	}
}
