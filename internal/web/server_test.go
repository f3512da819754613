package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a handler on loopback until the test ends.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Listener == nil && cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve after Drain: %v", err)
		}
	})
	return s
}

// client keeps nothing open after the test.
func client(t *testing.T, tlsConfig *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
}

func TestDefaultsBoundAStranger(t *testing.T) {
	s := start(t, Config{Handler: text("")})
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"header (slowloris)", s.http.ReadHeaderTimeout, 5 * time.Second},
		{"read", s.http.ReadTimeout, 30 * time.Second},
		{"write", s.http.WriteTimeout, 60 * time.Second},
		{"idle", s.http.IdleTimeout, 120 * time.Second},
		{"header bytes", s.http.MaxHeaderBytes, 32 << 10},
		{"streams", s.http.HTTP2.MaxConcurrentStreams, 100},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// A client that never ends its header is cut off; without the timeout this test hangs.
func TestSlowHeaderIsCutOff(t *testing.T) {
	s := start(t, Config{Handler: text("never"), ReadHeaderTimeout: 20 * time.Millisecond})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: gateway.example.com\r\nX-Slow: ")
	answer, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(answer), "never") {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestLongHeaderIsRefused(t *testing.T) {
	s := start(t, Config{Handler: text("never"), MaxHeaderBytes: 1024})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Addr().String(), nil)
	req.Header.Set("X-Long", strings.Repeat("a", 16<<10))
	resp, err := client(t, nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestDrainLetsRequestsEnd(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	s, err := New(Config{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- true
		<-leave
		io.WriteString(w, "finished")
	})})
	if err != nil {
		t.Fatal(err)
	}
	served, drained := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve() }()
	body := make(chan string, 1)
	c := client(t, nil)
	go func() {
		resp, err := c.Get("http://" + s.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	go func() { drained <- s.Drain(context.Background()) }()
	if err := <-served; err != nil { // the listener is closed first
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("a connection was accepted while draining")
	}
	close(leave)
	if got := <-body; got != "finished" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsOffWhenItsTimeEnds(t *testing.T) {
	entered := make(chan bool)
	s, err := New(Config{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done() // ends with the connection
	})})
	if err != nil {
		t.Fatal(err)
	}
	served, got := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve() }()
	c := client(t, nil)
	go func() {
		resp, err := c.Get("http://" + s.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		got <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Drain: %v", err)
	}
	if <-got == nil {
		t.Error("the request in flight was answered")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestDrainWithoutServeClosesTheListener(t *testing.T) {
	s, err := New(Config{Addr: "127.0.0.1:0", Handler: text("")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the listener is open")
	}
	if err := s.Serve(); err != nil {
		t.Errorf("Serve after Drain: %v", err)
	}
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, _ := x509.ParseCertificate(der)
	pool.AddCert(cert)
	s := start(t, Config{
		Handler: text("ok"),
		TLS:     &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	})
	resp, err := client(t, &tls.Config{RootCAs: pool}).Get("https://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("%s %v", resp.Proto, resp.Header)
	}
}

func TestListenErrorsAreOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct{ name, addr, want string }{
		{"in use", taken.Addr().String(), "another process uses it"},
		{"not ours", "192.0.2.1:0", "no interface"},
		{"not an address", "127.0.0.1", "host:port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Config{Addr: tt.addr, Handler: text("")})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.addr) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestAdminAddressMustBeLoopback(t *testing.T) {
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		{"127.0.0.1:0", true},
		{"127.1.2.3:0", true},
		{"localhost:0", true},
		{":0", false},
		{"0.0.0.0:0", false},
		{"[::]:0", false},
		{"192.0.2.1:0", false},
	} {
		l, err := ListenAdmin(tt.addr)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.addr, err)
		}
		if err == nil {
			l.Close()
		} else if !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v does not say why", tt.addr, err)
		}
	}
}

func TestOversizedBody(t *testing.T) {
	reads := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // says nothing: the answer is the server's
		}
		io.WriteString(w, "read")
	})
	s := start(t, Config{Handler: reads, MaxBodyBytes: 1000})
	for _, tt := range []struct {
		name string
		body io.Reader
		want int
	}{
		{"at the limit", bytes.NewReader(make([]byte, 1000)), 200},
		{"declared", bytes.NewReader(make([]byte, 1001)), 413},
		{"chunked", io.MultiReader(bytes.NewReader(make([]byte, 1001))), 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := client(t, nil).Post("http://"+s.Addr().String(), "application/json", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
			if tt.want == 413 && (resp.Header.Get("Content-Type") != "application/problem+json" || !resp.Close) {
				t.Errorf("%v, close %v", resp.Header, resp.Close)
			}
		})
	}
}

func TestHEADHasHeadersAndNoBody(t *testing.T) {
	log := &records{}
	s := start(t, Config{Handler: text("four"), Log: log.logger()})
	resp, err := client(t, nil).Head("http://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); len(b) != 0 || resp.StatusCode != 200 || resp.ContentLength != 4 {
		t.Errorf("%d, %d bytes, length %d", resp.StatusCode, len(b), resp.ContentLength)
	}
}
