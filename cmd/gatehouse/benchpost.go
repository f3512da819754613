package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// post sends one signed request and decodes the answer into out, if that is not nil; c.reply then has it as it came. A
// payload of nil is a POST-as-GET (RFC 8555, 6.3). A refused nonce is replaced (RFC 8555, 6.5).
func (c *benchClient) post(ctx context.Context, call benchCall, url string, payload []byte, out any) (http.Header, error) {
	for try := 1; ; try++ {
		if c.nonce == "" {
			if err := c.freshNonce(ctx); err != nil {
				return nil, err
			}
		}
		body, err := c.sign(url, payload)
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		status, header, err := c.exchange(ctx, url, body)
		c.stats.calls[call] = append(c.stats.calls[call], time.Since(begun))
		if err != nil {
			return nil, err
		}
		if status < 300 {
			if out == nil {
				return header, nil
			}
			if err := json.Unmarshal(c.reply.Bytes(), out); err != nil {
				return nil, fmt.Errorf("%s: %w", call, err)
			}
			return header, nil
		}
		var refusal struct{ Type, Detail string }
		if json.Unmarshal(c.reply.Bytes(), &refusal) != nil {
			return nil, fmt.Errorf("%s: status %d", call, status)
		}
		if refusal.Type != "urn:ietf:params:acme:error:badNonce" || try == badNonceTries {
			return nil, fmt.Errorf("%s: status %d, %s: %s", call, status, refusal.Type, refusal.Detail)
		}
		c.stats.badNonces++
	}
}

func (c *benchClient) exchange(ctx context.Context, url string, body []byte) (int, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/jose+json")
	c.nonce = ""
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	c.reply.Reset()
	if _, err := c.reply.ReadFrom(io.LimitReader(resp.Body, maxBenchReply)); err != nil {
		return 0, nil, err
	}
	c.nonce = resp.Header.Get("Replay-Nonce")
	return resp.StatusCode, resp.Header, nil
}

// sign makes a JWS in the flattened JSON serialization (RFC 8555, 6.2), with the account if there is one already, else
// with the key.
func (c *benchClient) sign(url string, payload []byte) ([]byte, error) {
	who := `"jwk":` + c.jwk
	if c.kid != "" {
		who = `"kid":"` + c.kid + `"`
	}
	protected := encode64([]byte(`{"alg":"ES256",` + who + `,"nonce":"` + c.nonce + `","url":"` + url + `"}`))
	signed := protected + "." + encode64(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		return nil, err
	}
	var signature [64]byte // RFC 7518, 3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return []byte(`{"protected":"` + protected + `","payload":"` + signed[len(protected)+1:] + `","signature":"` + encode64(signature[:]) + `"}`), nil
}
