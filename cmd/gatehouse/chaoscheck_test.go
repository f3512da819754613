package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// recover waits until all gateways say that they are ready, and then holds them to it, while the load goes on.
func (c *chaos) recover() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), recoverWithin)
	defer cancel()
	for k, m := range c.gateways {
		if why := readyWithin(ctx, m.world); why != "" {
			c.t.Errorf("gateway %d is not ready within %v: %s\n%s", k, recoverWithin, why, m.now.log.tail())
		}
	}
	for k, m := range c.gateways {
		h := c.load.fresh(patient(c.load.door, m.doors))
		if !c.load.seeThrough(ctx, h) {
			c.t.Errorf("invariant 25: through gateway %d nobody gets a certificate within %v: %v\n%s", k, recoverWithin, c.load.last, m.now.log.tail())
			continue
		}
		c.useNonce(ctx, h, k)
	}
	c.reuseNonces(ctx)
	c.lists.caughtUp(ctx)
}

// readyWithin asks /readyz until it says so, or ctx ends; then it returns why not.
func readyWithin(ctx context.Context, w *world) (why string) {
	for {
		_, body, err := lookAt(ctx, "http://"+w.plain+"/readyz")
		if err == nil {
			return ""
		}
		why = fmt.Sprintf("%v %s", err, body)
		idle(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return why
		}
	}
}

// lookAt fetches with little patience; anything but status 200 is an error.
func lookAt(ctx context.Context, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, chaosPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 10<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return resp.StatusCode, body, err
}

// useNonce uses a nonce of one gateway there, and keeps the request.
func (c *chaos) useNonce(ctx context.Context, h *history, gateway int) {
	c.t.Helper()
	var directory struct {
		NewNonce string `json:"newNonce"`
	}
	for ctx.Err() == nil {
		resp, err := h.http.Get(c.load.door.directory)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&directory)
			resp.Body.Close()
		}
		if err == nil && directory.NewNonce != "" {
			if resp, err = h.http.Head(directory.NewNonce); err == nil {
				resp.Body.Close()
				body := signedBody(c.t, h.key, h.account, resp.Header.Get("Replay-Nonce"), h.account, nil)
				if c.post(h.http, h.account, body) == http.StatusOK {
					c.used = append(c.used, body)
					return
				}
			}
		}
		idle(ctx, 100*time.Millisecond)
	}
	c.t.Errorf("gateway %d takes no nonce of its own", gateway)
}

// post returns the status, 0 if nothing came.
func (c *chaos) post(client *http.Client, url string, body []byte) int {
	resp, err := client.Post(url, "application/jose+json", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// reuseNonces sends the newest requests that were answered again, to all gateways (invariant 17).
func (c *chaos) reuseNonces(ctx context.Context) {
	c.t.Helper()
	c.used = c.used[max(0, len(c.used)-8):]
	for k, m := range c.gateways {
		client := patient(c.load.door, m.doors)
		for _, body := range c.used {
			var header struct{ URL string }
			must(c.t, json.Unmarshal(protectedHeader(c.t, body), &header))
			for ctx.Err() == nil {
				status := c.post(client, header.URL, body)
				if status == http.StatusBadRequest {
					break
				}
				if status == http.StatusOK {
					c.t.Errorf("invariant 17: a used nonce was accepted by gateway %d", k)
					break
				}
				idle(ctx, 100*time.Millisecond)
			}
		}
		client.CloseIdleConnections()
	}
}

// judge lets everybody finish, stops all gateways and judges what is left.
func (c *chaos) judge() {
	c.t.Helper()
	c.log("judging: the clients finish")
	c.load.finish(finishWithin)
	if c.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), finishWithin)
	defer cancel()
	if why := c.settled(ctx); why != "" {
		c.t.Errorf("invariants 24 and 25: within %v: %s", finishWithin, why)
	}
	c.log("judging: the gateways stop")
	var wg sync.WaitGroup
	for _, m := range c.gateways {
		wg.Go(func() { m.end(true) })
	}
	wg.Wait()
	judgeScene(c.t, c.fleet.scene(c.store.config), c.load.histories())
	c.log("judged %d clients", len(c.load.histories()))
}

// settled waits until nothing is left to do in the store; otherwise it says what is.
func (c *chaos) settled(ctx context.Context) (left string) {
	c.t.Helper()
	engine, err := redis.Open(ctx, c.store.config)
	must(c.t, err)
	defer engine.Close()
	db, err := storage.Open(ctx, storage.Config{Engine: engine})
	must(c.t, err)
	for {
		left, err = leftToDo(ctx, db)
		if err == nil && left == "" {
			return ""
		}
		if err != nil {
			left = err.Error()
		}
		idle(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return left
		}
	}
}

// leftToDo names something that a store has open: an intent, an enrollment, a revocation that is on no list.
func leftToDo(ctx context.Context, db *storage.DB) (string, error) {
	open, err := db.OpenIntents(ctx, time.Now().Add(time.Hour), 1)
	if err != nil || len(open) > 0 {
		return fmt.Sprintf("open intents: %+v", open), err
	}
	due, err := db.DueEnrollments(ctx, time.Now().Add(24*time.Hour), 1)
	if err != nil || len(due) > 0 {
		return fmt.Sprintf("due enrollments: %d", len(due)), err
	}
	requested, err := db.Search(ctx, ra.Query{Org: 1, Status: ra.StatusRequested, Limit: 1}, time.Now())
	if err != nil || len(requested.Enrollments) > 0 {
		return fmt.Sprintf("%d requested enrollments", requested.Total), err
	}
	revoked, err := db.Revoked(ctx, "dev", time.Now())
	if err != nil {
		return "", err
	}
	crl, err := db.CRL(ctx, "dev", 0)
	if err != nil {
		return "", err
	}
	list, err := x509.ParseRevocationList(crl.DER)
	if err != nil {
		return "", err
	}
	if len(list.RevokedCertificateEntries) < len(revoked) {
		return fmt.Sprintf("%d revocations, of which %d are on the list", len(revoked), len(list.RevokedCertificateEntries)), nil
	}
	return "", nil
}

// protectedHeader is that of a signed body.
func protectedHeader(t testing.TB, body []byte) []byte {
	t.Helper()
	var message struct{ Protected string }
	must(t, json.Unmarshal(body, &message))
	header, err := base64.RawURLEncoding.DecodeString(message.Protected)
	must(t, err)
	return header
}
