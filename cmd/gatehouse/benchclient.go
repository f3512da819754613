package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

const (
	badNonceTries = 5                     // how often one request is signed again with a new nonce (RFC 8555, 6.5)
	firstPoll     = 20 * time.Millisecond // doubled each time, up to what Retry-After asks for
	maxPoll       = time.Second
	pollPatience  = 30 * time.Second
	benchTimeout  = 60 * time.Second // of one request
	maxBenchReply = 1 << 20
)

// benchClient is an ACME client that costs as little as it can: one account, one connection, one request at a time. It is
// not safe for concurrent use.
type benchClient struct {
	http    *http.Client
	answers *benchAnswers
	method  dcv.Method // by which names are proven
	key     *ecdsa.PrivateKey
	jwk     string // as RFC 7638, 3 spells it
	print   string // the key's thumbprint
	kid     string
	nonce   string // from the last answer; "" when used

	newNonce, newAccount, newOrder string

	stats *benchStats // of the run under way
	reply bytes.Buffer
}

// newBenchClient makes an account at the server whose directory is given.
func newBenchClient(ctx context.Context, directory string, answers *benchAnswers) (*benchClient, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	c := &benchClient{
		http: &http.Client{Transport: benchTransport(), Timeout: benchTimeout}, answers: answers, method: dcv.HTTP01, key: key, stats: &benchStats{},
		jwk: fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, encode64(point[1:33]), encode64(point[33:])),
	}
	sum := sha256.Sum256([]byte(c.jwk))
	c.print = encode64(sum[:])
	text, err := fetch(ctx, directory)
	if err != nil {
		return nil, err
	}
	var urls struct{ NewNonce, NewAccount, NewOrder string }
	if err := json.Unmarshal(text, &urls); err != nil {
		return nil, fmt.Errorf("%s: %w", directory, err)
	}
	c.newNonce, c.newAccount, c.newOrder = urls.NewNonce, urls.NewAccount, urls.NewOrder
	header, err := c.post(ctx, callNewAccount, c.newAccount, []byte(`{"termsOfServiceAgreed":true}`), &struct{}{})
	if err != nil {
		return nil, err
	}
	c.kid = header.Get("Location")
	return c, nil
}

func encode64(octets []byte) string { return base64.RawURLEncoding.EncodeToString(octets) }

// freshNonce gets a nonce, and with it a connection that is warm.
func (c *benchClient) freshNonce(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.newNonce, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if c.nonce = resp.Header.Get("Replay-Nonce"); c.nonce == "" {
		return fmt.Errorf("%s answers %s without a nonce", c.newNonce, resp.Status)
	}
	return nil
}

// benchOrderState and benchAuthorization are RFC 8555, 7.1.3 and 7.1.4, as far as a client looks.
type benchOrderState struct {
	Status         string   `json:"status"`
	Authorizations []string `json:"authorizations"`
	Finalize       string   `json:"finalize"`
	Certificate    string   `json:"certificate"`
	Error          *struct {
		Detail string `json:"detail"`
	} `json:"error"`
}

type benchAuthorization struct {
	Identifier struct {
		Value string `json:"value"`
	} `json:"identifier"`
	Status     string           `json:"status"`
	Challenges []benchChallenge `json:"challenges"`
}

type benchChallenge struct {
	Type   string `json:"type"`
	URL    string `json:"url"`
	Token  string `json:"token"`
	Status string `json:"status"`
	Error  *struct {
		Detail string `json:"detail"`
	} `json:"error"`
}

// issue does one whole issuance and gives the chain as PEM.
func (c *benchClient) issue(ctx context.Context, o *benchOrder) ([]byte, error) {
	var order benchOrderState
	header, err := c.post(ctx, callNewOrder, c.newOrder, o.newOrder, &order)
	if err != nil {
		return nil, err
	}
	url := header.Get("Location")
	for _, authz := range order.Authorizations {
		if err := c.prove(ctx, authz); err != nil {
			return nil, err
		}
	}
	header, err = c.post(ctx, callFinalize, order.Finalize, o.finalize, &order)
	if err != nil {
		return nil, err
	}
	err = c.poll(ctx, header, func() (http.Header, error) { return c.post(ctx, callPoll, url, nil, &order) },
		func() bool { return order.Status == "processing" })
	if err != nil {
		return nil, err
	}
	if order.Status != "valid" || order.Certificate == "" {
		detail := ""
		if order.Error != nil {
			detail = ": " + order.Error.Detail
		}
		return nil, fmt.Errorf("the order is %s after finalize%s", order.Status, detail)
	}
	if _, err := c.post(ctx, callCertificate, order.Certificate, nil, nil); err != nil {
		return nil, err
	}
	return bytes.Clone(c.reply.Bytes()), nil
}

// prove answers one authorization's challenge of the client's method.
func (c *benchClient) prove(ctx context.Context, url string) error {
	var authz benchAuthorization
	if _, err := c.post(ctx, callAuthorization, url, nil, &authz); err != nil {
		return err
	}
	challenge := authz.find(c.method)
	if challenge == nil {
		return fmt.Errorf("%s is %s and offers no %s challenge", url, authz.Status, c.method)
	}
	remove, err := c.answers.answer(c.method, authz.Identifier.Value, challenge.Token, challenge.Token+"."+c.print) // RFC 8555, 8.1
	if err != nil {
		return err
	}
	defer remove()
	header, err := c.post(ctx, callChallenge, challenge.URL, []byte("{}"), challenge)
	if err != nil {
		return err
	}
	err = c.poll(ctx, header, func() (http.Header, error) {
		authz = benchAuthorization{}
		header, err := c.post(ctx, callPoll, url, nil, &authz)
		if challenge = authz.find(c.method); err == nil && challenge == nil {
			err = fmt.Errorf("%s has lost its %s challenge", url, c.method)
		}
		return header, err
	}, func() bool { return challenge.Status == "pending" || challenge.Status == "processing" })
	if err != nil {
		return err
	}
	if challenge.Status != "valid" {
		detail := ""
		if challenge.Error != nil {
			detail = ": " + challenge.Error.Detail
		}
		return fmt.Errorf("the challenge is %s%s", challenge.Status, detail)
	}
	return nil
}

func (a *benchAuthorization) find(method dcv.Method) *benchChallenge {
	for i := range a.Challenges {
		if a.Challenges[i].Type == string(method) {
			return &a.Challenges[i]
		}
	}
	return nil
}

// poll asks again while a thing is under way. It waits briefly at first, because most things are under way for moments
// only, and never longer than the server asks for.
func (c *benchClient) poll(ctx context.Context, header http.Header, ask func() (http.Header, error), underWay func() bool) error {
	begun, wait := time.Now(), firstPoll
	for underWay() {
		if time.Since(begun) > pollPatience {
			return fmt.Errorf("it was still under way after %s", pollPatience)
		}
		timer := time.NewTimer(min(wait, retryAfter(header)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait *= 2
		c.stats.polls++
		var err error
		if header, err = ask(); err != nil {
			return err
		}
	}
	return nil
}

// retryAfter is Retry-After in seconds, or maxPoll without one.
func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return maxPoll
}
