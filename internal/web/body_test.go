package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bodiesByPath are the bounds of the tests: /own speaks for itself, /upload is an upload of at most 1000 octets, 10 a second.
func bodiesByPath(r *http.Request) Body {
	switch r.URL.Path {
	case "/own":
		return Body{Own: true}
	case "/upload":
		return Body{Max: 1000, Own: true, Rate: 10, Answer: 5 * time.Minute}
	}
	return Body{}
}

// TestOwnRefusal: a door that speaks for itself is told of a body that is too large, at once if that was declared; and whoever says
// nothing is spoken for.
func TestOwnRefusal(t *testing.T) {
	var read atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		read.Store(n)
		if e, ok := errors.AsType[*http.MaxBytesError](err); ok && r.URL.RawQuery == "" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			fmt.Fprintf(w, "own: %d", e.Limit)
		}
	})
	s := start(t, Config{Handler: handler, MaxBodyBytes: 100, Bodies: bodiesByPath})
	for _, tt := range []struct {
		name, path, says string
		body             io.Reader
		most             int64 // that is read
	}{
		{"declared", "/own", "own: 100", strings.NewReader(strings.Repeat("x", 101)), 0},
		{"chunked", "/own", "own: 100", io.MultiReader(strings.NewReader(strings.Repeat("x", 101))), 100},
		{"of another path", "/", "at most 100 bytes", strings.NewReader(strings.Repeat("x", 101)), 0},
		{"and says nothing", "/own?silent", "at most 100 bytes", strings.NewReader(strings.Repeat("x", 101)), 0},
		{"of an upload", "/upload", "own: 1000", strings.NewReader(strings.Repeat("x", 1001)), 0},
		{"of an upload, chunked", "/upload", "own: 1000", io.MultiReader(strings.NewReader(strings.Repeat("x", 1001))), 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			read.Store(0)
			resp, err := client(t, nil).Post("http://"+s.Addr().String()+tt.path, "text/plain", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			said, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close || !strings.Contains(string(said), tt.says) || read.Load() > tt.most {
				t.Errorf("status %d, close %v, %d octets were read: %s", resp.StatusCode, resp.Close, read.Load(), said)
			}
		})
	}
}

// TestUploadFits: what fits is read, and its connection serves on.
func TestUploadFits(t *testing.T) {
	s := start(t, Config{MaxBodyBytes: 100, Bodies: bodiesByPath, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d, %v", n, err)
	})})
	resp, err := client(t, nil).Post("http://"+s.Addr().String()+"/upload", "text/plain", strings.NewReader(strings.Repeat("x", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, _ := io.ReadAll(resp.Body); string(said) != "1000, <nil>" || resp.Close {
		t.Errorf("close %v: %s", resp.Close, said)
	}
}

// upload begins an upload on a server whose handler reads the body and works for a while. The outcome has what it read.
func upload(t *testing.T, work time.Duration) (g *guest, outcome <-chan string) {
	said := make(chan string, 1)
	p := newPipes()
	start(t, Config{Listener: p, Bodies: bodiesByPath, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		timer := time.NewTimer(work)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			err = errors.Join(err, r.Context().Err())
		}
		said <- fmt.Sprintf("%d, %v", n, err)
		io.WriteString(w, "done")
	})})
	g = p.dial(t, "192.0.2.1")
	fmt.Fprint(g, "POST /upload HTTP/1.1\r\nHost: gateway.example.com\r\nContent-Length: 1000\r\n\r\n")
	return g, said
}

// TestSlowUpload: who sends as slowly as may be has the time that it takes, far beyond the time of other requests.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, outcome := upload(t, 0)
		for range 50 {
			time.Sleep(2 * time.Second)
			fmt.Fprint(g, strings.Repeat("x", 20))
		}
		g.answered()
		if got := <-outcome; got != "1000, <nil>" {
			t.Errorf("the handler has %s", got)
		}
	})
}

// TestTooSlowUpload: a trickle, and silence after half a body, are cut off.
func TestTooSlowUpload(t *testing.T) {
	for name, tt := range map[string]struct {
		octets, times int
		every, within time.Duration
	}{
		"a trickle":     {1, 1000, time.Second, 40 * time.Second},
		"half, silence": {500, 1, 0, 31 * time.Second},
		"nothing":       {0, 0, 0, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, outcome := upload(t, 0)
				begun := time.Now()
				go func() {
					for range tt.times {
						if _, err := fmt.Fprint(g, strings.Repeat("x", tt.octets)); err != nil {
							return
						}
						time.Sleep(tt.every)
					}
				}()
				if got := <-outcome; !strings.Contains(got, "i/o timeout") {
					t.Errorf("the handler has %s", got)
				}
				if took := time.Since(begun); took > tt.within { // by the clock of the bubble
					t.Errorf("it was cut off after %v", took)
				}
				go io.Copy(io.Discard, g)
				time.Sleep(time.Minute)
				g.Close()
			})
		})
	}
}

// TestLongAnswer: the time of a request is not over while the handler works on what was uploaded, and then there is time to say so.
func TestLongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, outcome := upload(t, 4*time.Minute)
		fmt.Fprint(g, strings.Repeat("x", 1000))
		if got := <-outcome; got != "1000, <nil>" {
			t.Errorf("the handler has %s", got)
		}
		g.answered()
	})
}

// TestReadAgain: a handler that reads on behind the end of an upload, to be sure of it, has all the time for its work as well: net/http
// watches the connection by then, and a deadline of ours would look to it like a client that has gone.
func TestReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan error, 1)
		p := newPipes()
		start(t, Config{Listener: p, Bodies: bodiesByPath, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			if n, again := r.Body.Read(make([]byte, 1)); n > 0 || again != io.EOF {
				err = errors.Join(err, again)
			}
			time.Sleep(4 * time.Minute)
			said <- errors.Join(err, r.Context().Err())
		})})
		g := p.dial(t, "192.0.2.1")
		fmt.Fprint(g, "POST /upload HTTP/1.1\r\nHost: gateway.example.com\r\nContent-Length: 1000\r\n\r\n"+strings.Repeat("x", 1000))
		if err := <-said; err != nil {
			t.Errorf("the handler has %v", err)
		}
		g.answered()
	})
}

// TestUploadRefusedUnread: whoever is refused by the header alone is answered at once, and not listened to any longer than others are.
func TestUploadRefusedUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for length, within := range map[string]time.Duration{"Content-Length: 1000000": time.Second, "Transfer-Encoding: chunked": 31 * time.Second} {
			p := newPipes()
			many := func(*http.Request) Body { return Body{Max: 1_000_000, Own: true, Rate: 10} }
			start(t, Config{Listener: p, Bodies: many, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusUnauthorized)
			})})
			g := p.dial(t, "192.0.2.1")
			begun := time.Now()
			fmt.Fprintf(g, "POST /upload HTTP/1.1\r\nHost: gateway.example.com\r\n%s\r\n\r\n", length)
			resp, err := http.ReadResponse(g.answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusUnauthorized || !resp.Close || time.Since(begun) > time.Second {
				t.Errorf("%s: status %d, close %v", length, resp.StatusCode, resp.Close)
			}
			time.Sleep(within)
			if !g.gone() {
				t.Errorf("%s: the connection is open", length)
			}
		}
	})
}
