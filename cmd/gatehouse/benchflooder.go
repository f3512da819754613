package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// floodFrom is the address that floods come from, another one than the healthy clients'.
const floodFrom = "127.0.0.2"

// floodWorkers send a flood's requests.
const floodWorkers = 16

// hugeRSABits is the size of the keys that cost much to look at.
const hugeRSABits = 16384

// flood is one way to keep a gateway busy.
type flood struct {
	name          string
	run           func(ctx context.Context) // until ctx ends
	begun         func(ctx context.Context) // returns when it is at full strength
	sent, refused atomic.Int64
}

// flooder makes floods against one gateway.
type flooder struct {
	host        string // host:port
	client      *benchClient
	connections int
	rate        int
	ready       benchOrderState // an order whose name is proven
	csr         []byte          // DER, for it
}

// newFlooder makes an account and gets an order ready.
func newFlooder(ctx context.Context, directory string, answers *benchAnswers, connections, rate int) (*flooder, error) {
	u, err := url.Parse(directory)
	if err != nil {
		return nil, err
	}
	f := &flooder{host: u.Host, connections: connections, rate: rate}
	if f.client, err = newBenchClient(ctx, directory, answers); err != nil {
		return nil, fmt.Errorf("registering the flood's account: %w", err)
	}
	const name = "csr.example.net"
	if f.csr, err = hugeRequest(name); err != nil {
		return nil, err
	}
	_, err = f.client.post(ctx, callNewOrder, f.client.newOrder, []byte(`{"identifiers":[{"type":"dns","value":"`+name+`"}]}`), &f.ready)
	if err != nil {
		return nil, err
	}
	return f, f.client.prove(ctx, f.ready.Authorizations[0])
}

func floodDialer() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(floodFrom)}, Timeout: 10 * time.Second}
}

// floods are all there are.
func (f *flooder) floods() []*flood {
	return []*flood{
		f.slow(),
		f.requests("nonces", f.rate, func(*benchClient) (string, []byte, error) { return f.client.newNonce, nil, nil }),
		f.requests("orders", max(1, f.rate/10), f.order),
		f.requests("16,384-bit account keys", f.rate, f.hugeAccount()),
		f.requests("16,384-bit CSRs", f.rate, f.hugeCSR()),
	}
}

// slow holds connections open whose header never ends; one that is closed is opened again.
func (f *flooder) slow() *flood {
	s := &flood{name: fmt.Sprintf("%d slow connections", f.connections)}
	full := make(chan struct{})
	var up atomic.Int64
	s.begun = func(ctx context.Context) {
		select {
		case <-full:
		case <-ctx.Done():
		}
	}
	s.run = func(ctx context.Context) {
		var wg sync.WaitGroup
		dials := make(chan struct{}, 64) // at once
		for range f.connections {
			wg.Go(func() {
				for ctx.Err() == nil {
					dials <- struct{}{}
					conn, err := floodDialer().DialContext(ctx, "tcp", f.host)
					<-dials
					if err != nil {
						return
					}
					s.sent.Add(1)
					if up.Add(1) == int64(f.connections) {
						close(full)
					}
					dribble(ctx, conn)
				}
			})
		}
		wg.Wait()
	}
	return s
}

// dribble sends a header by an octet a second until the connection or ctx ends.
func dribble(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for _, octet := range []byte("GET /acme/directory HTTP/1.1\r\nHost: " + "gateway.example.com\r\nX-Slow: and so on\r\n") {
		if _, err := conn.Write([]byte{octet}); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// floodRequest makes what is sent next: a body to POST, or none for GET. The client signs; its nonce is fresh.
type floodRequest func(c *benchClient) (url string, body []byte, err error)

// requests sends at a rate, from a few workers with an account and a connection each.
func (f *flooder) requests(name string, rate int, next floodRequest) *flood {
	s := &flood{name: name, begun: func(context.Context) {}}
	s.run = func(ctx context.Context) {
		ticks := make(chan struct{})
		var wg sync.WaitGroup
		for range floodWorkers {
			wg.Go(func() {
				c := *f.client
				c.http = &http.Client{Transport: &http.Transport{DialContext: floodDialer().DialContext, DisableCompression: true}, Timeout: benchTimeout}
				c.nonce, c.stats = "", &benchStats{}
				c.reply = bytes.Buffer{}
				defer c.http.CloseIdleConnections()
				for range ticks {
					s.send(ctx, &c, next)
				}
			})
		}
		every := time.NewTicker(time.Second / time.Duration(rate))
		defer every.Stop()
		for ctx.Err() == nil {
			select {
			case <-every.C:
			case <-ctx.Done():
			}
			select {
			case ticks <- struct{}{}:
			case <-ctx.Done():
			}
		}
		close(ticks)
		wg.Wait()
	}
	return s
}

// send sends one request and counts it. What becomes of it is the gateway's matter.
func (s *flood) send(ctx context.Context, c *benchClient, next floodRequest) {
	if c.nonce == "" && c.freshNonce(ctx) != nil {
		return
	}
	to, body, err := next(c)
	if err != nil {
		return
	}
	status := 0
	if body == nil {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, to, nil); err == nil {
			var resp *http.Response
			if resp, err = c.http.Do(req); err == nil {
				status = resp.StatusCode
				_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBenchReply))
				resp.Body.Close()
			}
		}
	} else {
		status, _, err = c.exchange(ctx, to, body)
	}
	if err != nil {
		return
	}
	s.sent.Add(1)
	if status >= http.StatusBadRequest {
		s.refused.Add(1)
	}
}

// order is a new order that nobody ever goes on with.
func (f *flooder) order(c *benchClient) (string, []byte, error) {
	var octets [8]byte
	rand.Read(octets[:])
	payload := fmt.Appendf(nil, `{"identifiers":[{"type":"dns","value":"f%x.example.net"}]}`, octets)
	body, err := c.sign(c.newOrder, payload)
	return c.newOrder, body, err
}

// hugeModulus has no factors that anybody knows and no key behind it.
func hugeModulus() []byte {
	octets := make([]byte, hugeRSABits/8)
	rand.Read(octets)
	octets[0] |= 0x80
	octets[len(octets)-1] |= 1
	return octets
}

// hugeAccount asks for accounts with keys of 16,384 bits. The signatures are random: to find that out is the work.
func (f *flooder) hugeAccount() floodRequest {
	modulus := hugeModulus()
	return func(c *benchClient) (string, []byte, error) {
		signature := make([]byte, hugeRSABits/8)
		rand.Read(signature[1:])
		protected := encode64(fmt.Appendf(nil, `{"alg":"RS256","jwk":{"kty":"RSA","n":%q,"e":"AQAB"},"nonce":%q,"url":%q}`,
			encode64(modulus), c.nonce, c.newAccount))
		c.nonce = ""
		return c.newAccount, fmt.Appendf(nil, `{"protected":%q,"payload":%q,"signature":%q}`,
			protected, encode64([]byte(`{"termsOfServiceAgreed":true}`)), encode64(signature)), nil
	}
}

// hugeCSR finalizes one order, which is ready, with CSRs of such keys, whose signatures are random, too.
func (f *flooder) hugeCSR() floodRequest {
	return func(c *benchClient) (string, []byte, error) {
		body, err := c.sign(f.ready.Finalize, fmt.Appendf(nil, `{"csr":%q}`, encode64(f.csr)))
		return f.ready.Finalize, body, err
	}
}

// hugeRequest is a PKCS #10 request (RFC 2986) for a key of which only the modulus is known.
func hugeRequest(name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	small, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(hugeModulus()), E: 65537})
	if err != nil {
		return nil, err
	}
	attributesTag := cbasn1.Tag(0).Constructed().ContextSpecific()
	var csr, info, attributes cryptobyte.String
	input := cryptobyte.String(small)
	if !input.ReadASN1(&csr, cbasn1.SEQUENCE) || !csr.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.INTEGER) ||
		!info.SkipASN1(cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.SEQUENCE) || !info.ReadASN1Element(&attributes, attributesTag) {
		return nil, errors.New("a CSR of this process cannot be read")
	}
	signature := make([]byte, hugeRSABits/8)
	rand.Read(signature[1:])
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {})
			b.AddBytes(public)
			b.AddBytes(attributes)
		})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}) // sha256WithRSAEncryption
			b.AddASN1NULL()
		})
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}
