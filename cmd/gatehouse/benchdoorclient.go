package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// doorCase is a list that is measured: its filters, made anew for each request.
type doorCase struct {
	by      string
	filters func(n int) url.Values
	several bool // no index answers alone: the budget is not about it
}

// doorCases are lists by each index, over all organisations or the one that has most, and some by several filters.
func doorCases(last ra.ID) []doorCase {
	org, small, stock := stockOrgs[0].id, stockOrgs[len(stockOrgs)-1].id, &benchStock{now: time.Now()}
	by := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	with := func(v url.Values) func(int) url.Values { return func(int) url.Values { return v } }
	one := "orgId=" + strconv.Itoa(int(org))
	number := strconv.Itoa(int(org))
	requester := func(n int) string { return "acme:" + stockAccount(org, n%stockRequesters) }
	name := func() string { return stock.facts(1 + ra.ID(rand.Int64N(int64(last)))).names[0] }
	return []doorCase{
		{"nothing", with(by()), false},
		{one, with(by("orgId", number)), false},
		{"status=Issued", with(by("status", "Issued")), false},
		{"status=Issued, " + one, with(by("status", "Issued", "orgId", number)), false},
		{"status=Revoked", with(by("status", "Revoked")), false},
		{"status=Expired", with(by("status", "Expired")), false},
		{"sslTypeId", with(by("sslTypeId", strconv.Itoa(stockNumber(0)))), false},
		{"sslTypeId, " + one, with(by("sslTypeId", strconv.Itoa(stockNumber(0)), "orgId", number)), false},
		{"requester", func(n int) url.Values { return by("requester", requester(n)) }, false},
		{"subjectAlternativeName", func(int) url.Values { return by("subjectAlternativeName", name()) }, false},
		{"commonName", func(int) url.Values { return by("commonName", name()) }, false},
		{"commonName, keyAlgorithm, vendor", func(int) url.Values {
			return by("commonName", name(), "keyAlgorithm", "EC", "vendor", "Gatehouse test")
		}, true},
		{"requester of a smaller organisation, issued", func(n int) url.Values {
			return by("requester", "acme:"+stockAccount(small, n%stockRequesters), "status", "Issued")
		}, true},
		{"the same, keyAlgorithm", func(n int) url.Values {
			return by("requester", "acme:"+stockAccount(small, n%stockRequesters), "keyAlgorithm", "EC")
		}, true},
	}
}

// doorClient lists as a program does that was written for SCM's API, with an access token, over one connection.
type doorClient struct {
	base, token string
	id, secret  string
	bearer      string
	until       time.Time // when another token is to be had
	http        *http.Client
	done        atomic.Int64
}

func newDoorClient(base, token, id, secret string) *doorClient {
	return &doorClient{base: base, token: token, id: id, secret: secret, http: &http.Client{Transport: benchTransport(), Timeout: benchTimeout}}
}

// authorize gets a token, unless it has one that is good for a while.
func (c *doorClient) authorize(ctx context.Context) error {
	if time.Now().Before(c.until) {
		return nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id}, "client_secret": {c.secret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.token, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Token   string `json:"access_token"`
		Expires int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&answer); err != nil || answer.Token == "" {
		return errors.Join(fmt.Errorf("getting an access token: the gateway answers %s", resp.Status), err)
	}
	c.bearer, c.until = answer.Token, time.Now().Add(time.Duration(answer.Expires)*time.Second/2)
	return nil
}

// list makes one request and reads all of the answer.
func (c *doorClient) list(ctx context.Context, method string, filters url.Values, position int64) (total int64, items int, err error) {
	query := url.Values{}
	for name, values := range filters {
		query[name] = values
	}
	if method == http.MethodGet {
		query.Set("size", strconv.Itoa(pageSize))
		query.Set("position", strconv.FormatInt(position, 10))
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/ssl/v2?"+query.Encode(), nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s %s: %s: %s", method, req.URL, resp.Status, body)
	}
	if total, err = strconv.ParseInt(resp.Header.Get("X-Total-Count"), 10, 64); err != nil || method == http.MethodHead {
		return total, 0, err
	}
	var list []json.RawMessage
	err = json.Unmarshal(body, &list)
	return total, len(list), err
}

// measure measures the first page, one in the middle, the last one, one beyond the end, and the total by HEAD.
func (c *doorClient) measure(ctx context.Context, of doorCase, samples int) (l benchDoorList, err error) {
	l.By, l.Several = of.by, of.several
	if err := c.authorize(ctx); err != nil {
		return l, err
	}
	if l.Total, _, err = c.list(ctx, http.MethodGet, of.filters(0), 0); err != nil {
		return l, err
	}
	last := max(l.Total-pageSize, 0)
	for _, at := range []struct {
		method   string
		position int64
		into     *benchQuantiles
	}{
		{http.MethodGet, 0, &l.First}, {http.MethodGet, last / 2, &l.Middle}, {http.MethodGet, last, &l.Last}, {http.MethodGet, 1_000_000_000, &l.Beyond},
		{http.MethodHead, 0, &l.Count},
	} {
		if *at.into, err = c.time(ctx, of, at.method, at.position, samples); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (c *doorClient) time(ctx context.Context, of doorCase, method string, position int64, samples int) (benchQuantiles, error) {
	if err := c.authorize(ctx); err != nil {
		return benchQuantiles{}, err
	}
	took := make([]time.Duration, 0, samples)
	for n := range pageWarms + samples {
		filters := of.filters(n)
		begun := time.Now()
		if _, _, err := c.list(ctx, method, filters, position); err != nil {
			return benchQuantiles{}, err
		}
		if n >= pageWarms {
			took = append(took, time.Since(begun))
			c.done.Add(1)
		}
	}
	return quantiles(took), nil
}
