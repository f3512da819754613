package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What an operator's command changes, what waits for people and what they decide: the gateway is ended before and after the
// commit of each, the latter being after the store has it and before the journal has, and started again. What a command was
// told that it is done is there; what it was not told is either there whole or not at all, as its moment says; and it is there
// again when the store is gone, from the journal.

// change is a change that a gateway is ended in.
type change struct {
	name    string
	key     string // that the commit puts, and which of its commits it is
	journal bool   // it comes back if the store is gone
	told    bool   // the journal has it first
	// make makes the change for an object of this name and of nobody else; the gateway dies in its last step.
	make func(i *instance, object string)
	// made reports whether the change is there.
	made func(i *instance, object string) bool
}

// asks sends what a command would, without starting a process for it.
func (i *instance) asks(method, path string, in, out any) error {
	return (&adminFlags{Data: i.data}).call(i.t.Context(), method, path, in, out)
}

// does demands that a change is made.
func (i *instance) does(path string, in any) {
	i.t.Helper()
	must(i.t, i.asks("POST", path, in, new(any)))
}

// dies asks for a change in which the gateway ends.
func (i *instance) dies(path string, in any) {
	i.t.Helper()
	if err := i.asks("POST", path, in, new(any)); err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		i.t.Fatalf("the gateway answered %s: %v", path, err)
	}
}

// list is what a listing shows, as objects.
func (i *instance) list(path string) (list []map[string]any) {
	i.t.Helper()
	var answer json.RawMessage
	must(i.t, i.asks("GET", path+"?limit=100", nil, &answer))
	if answer[0] == '[' {
		must(i.t, json.Unmarshal(answer, &list))
		return list
	}
	var page map[string]json.RawMessage
	must(i.t, json.Unmarshal(answer, &page))
	for _, part := range page {
		if part[0] == '[' {
			must(i.t, json.Unmarshal(part, &list))
		}
	}
	return list
}

// find is the object of a listing that has a value; nil if there is none.
func (i *instance) find(path, name, value string) map[string]any {
	i.t.Helper()
	list := i.list(path)
	if n := slices.IndexFunc(list, func(o map[string]any) bool { return fmt.Sprint(o[name]) == value }); n >= 0 {
		return list[n]
	}
	return nil
}

// operatorChanges are those of the objects that commands make.
func operatorChanges() []change {
	const orgs, keys, users, domains = "/organisations", "/eab-keys", "/principals", "/domains"
	org := func(o string) orgAdd { return orgAdd{Slug: o} }
	user := func(o string) userAdd { return userAdd{Org: "dev", Login: o, Roles: []roleView{{Role: "approver"}}} }
	domain := func(o string) domainAdd { return domainAdd{Domain: o + ".example.com", Org: "dev"} }
	yes := true
	return []change{
		{"an organisation is made", "organisation/:1", true, false,
			func(i *instance, o string) { i.dies(orgs, org(o)) },
			func(i *instance, o string) bool { return i.find(orgs, "slug", o) != nil }},
		{"an organisation is disabled", "organisation/:2", true, false,
			func(i *instance, o string) { i.does(orgs, org(o)); i.dies(orgs+"/"+o, orgEdit{Disabled: &yes}) },
			func(i *instance, o string) bool { return i.find(orgs, "slug", o)["disabled"] != nil }},
		{"a key for binding is made", "eab/:1", true, false,
			func(i *instance, o string) { i.dies(keys, eabAdd{Org: "dev", Label: o}) },
			func(i *instance, o string) bool { return i.find(keys, "label", o) != nil }},
		{"a key for binding is revoked", "eab/:2", true, false,
			func(i *instance, o string) {
				i.does(keys, eabAdd{Org: "dev", Label: o})
				i.dies(fmt.Sprintf("%s/%s/revoke", keys, i.find(keys, "label", o)["kid"]), nil)
			},
			func(i *instance, o string) bool { return i.find(keys, "label", o)["status"] == "revoked" }},
		{"a principal is made", "principal/:1", true, false,
			func(i *instance, o string) { i.dies(users, user(o)) },
			func(i *instance, o string) bool { return i.find(users, "login", o) != nil }},
		{"a principal is disabled", "principal/:2", true, false,
			func(i *instance, o string) { i.does(users, user(o)); i.dies(users+"/"+o, userEdit{Disabled: &yes}) },
			func(i *instance, o string) bool { return i.find(users, "login", o)["status"] == "disabled" }},
		{"a credential is made", "principal/:2", true, false,
			func(i *instance, o string) {
				i.does(users, user(o))
				i.dies(users+"/"+o+"/credentials", keyAdd{Kind: "api"})
			},
			func(i *instance, o string) bool {
				list, _ := i.find(users, "login", o)["credentials"].([]any)
				return len(list) == 1
			}},
		{"a domain is given", "domain/:1", true, false,
			func(i *instance, o string) { i.dies(domains, domain(o)) },
			func(i *instance, o string) bool { return i.find(domains, "domain", o+".example.com") != nil }},
		{"a domain is removed", "domain/:2", true, false,
			func(i *instance, o string) {
				i.does(domains, domain(o))
				i.dies(domains+"/"+o+".example.com/remove", domainEdit{})
			},
			func(i *instance, o string) bool { return i.find(domains, "domain", o+".example.com") == nil }},
		{"a certificate is imported", "imported/:1", true, false,
			func(i *instance, o string) { i.dies("/imports", importOf(i.t, o+".example.com")) },
			func(i *instance, o string) bool {
				return i.find("/enrollments", "names", "["+o+".example.com]") != nil
			}},
	}
}

// client is an ACME client that lives through its gateway's ends.
type crashClient struct {
	*rawClient
	orders map[string]rawOrder // by object
}

// back is the client at the gateway as it was started again: nonces from before count nowhere.
func (c *crashClient) back(i *instance) {
	c.http = i.client()
	c.nonces = nil
}

// diesAt sends a request in which the gateway ends.
func (c *crashClient) diesAt(url string, payload any) {
	c.t.Helper()
	resp, err := c.http.Post(url, "application/jose+json", bytes.NewReader(c.sign(url, c.nonce(), payload)))
	if err == nil {
		resp.Body.Close()
		c.t.Errorf("%s was answered %s", url, resp.Status)
	}
}

// waitingChanges are those of requests that people decide.
func waitingChanges(w *world) []change {
	c, answers := &crashClient{orders: map[string]rawOrder{}}, w.answers()
	name := func(o string) string { return o + ".example.com" }
	request := func(i *instance, o string) map[string]any {
		for _, r := range i.list("/requests") {
			if names, _ := r["names"].([]any); len(names) == 1 && names[0] == name(o) {
				return r
			}
		}
		return nil
	}
	ready := func(i *instance, o string) (rawOrder, map[string]string) {
		if c.rawClient == nil {
			c.rawClient = registered(i)
		}
		c.back(i)
		c.orders[o] = c.ready(answers, name(o))
		_, csr := newCSR(i.t, name(o))
		return c.orders[o], map[string]string{"csr": b64(csr)}
	}
	waits := func(i *instance, o string) string {
		order, csr := ready(i, o)
		c.post(order.Finalize, csr).want(http.StatusOK)
		return fmt.Sprint(request(i, o)["id"])
	}
	return []change{
		{"a request begins to wait", "standing/:1", false, false,
			func(i *instance, o string) { order, csr := ready(i, o); c.diesAt(order.Finalize, csr) },
			func(i *instance, o string) bool {
				c.back(i)
				status, r := c.look(c.orders[o]).Status, request(i, o)
				if whole := status == "processing"; whole != (r != nil) || !whole && status != "ready" {
					i.t.Errorf("the order is %s and the request %v", status, r)
				}
				return r != nil
			}},
		{"a request is approved", "enrollment/:2", false, false,
			func(i *instance, o string) { i.dies("/requests/"+waits(i, o)+"/approve", requestWord{}) },
			func(i *instance, o string) bool { return request(i, o)["status"] == "approved" }},
		{"a request is declined", "enrollment/:2", false, false,
			func(i *instance, o string) { i.dies("/requests/"+waits(i, o)+"/decline", requestWord{Message: "no"}) },
			func(i *instance, o string) bool {
				c.back(i)
				status, r := c.look(c.orders[o]).Status, request(i, o)
				if declined := r == nil; declined != (status == "invalid") {
					i.t.Errorf("the order is %s and the request %v", status, r)
				}
				return r == nil
			}},
	}
}

// certificateChanges are those of certificates: under a quota, and an operator's word on a renewal.
func certificateChanges(w *world) (quota, renewal change) {
	c, answers := &crashClient{orders: map[string]rawOrder{}}, w.answers()
	ready := func(i *instance, o string) (rawOrder, map[string]string) {
		if c.rawClient == nil {
			c.rawClient = registered(i)
		}
		c.back(i)
		c.orders[o] = c.ready(answers, o+".example.com")
		_, csr := newCSR(i.t, o+".example.com")
		return c.orders[o], map[string]string{"csr": b64(csr)}
	}
	number := func(i *instance, o string) string {
		var list listView
		must(i.t, i.asks("GET", "/enrollments?limit=100", nil, &list))
		for _, e := range list.Enrollments {
			if slices.Equal(e.Names, []string{o + ".example.com"}) {
				return strconv.FormatInt(e.ID, 10)
			}
		}
		return ""
	}
	quota = change{"a certificate begins under a quota", "quota/:1", true, false,
		func(i *instance, o string) { order, csr := ready(i, o); c.diesAt(order.Finalize, csr) },
		func(i *instance, o string) bool {
			n := number(i, o)
			for v := new(enrollmentView); n != "" && v.Status != "issued"; { // what was begun is finished
				if !pause(i.t.Context()) {
					i.t.Fatalf("it is %s", v.Status)
				}
				must(i.t, i.asks("GET", "/enrollments/"+n, nil, v))
			}
			return n != ""
		}}
	renewal = change{"a renewal is asked for", "certificate/:3", true, true,
		func(i *instance, o string) {
			order, csr := ready(i, o)
			c.post(order.Finalize, csr).want(http.StatusOK)
			c.await(order)
			i.dies("/enrollments/"+number(i, o)+"/renew-now", renewWord{})
		},
		func(i *instance, o string) bool {
			var v enrollmentView
			must(i.t, i.asks("GET", "/enrollments/"+number(i, o), nil, &v))
			return v.Renewal != nil
		}}
	return quota, renewal
}

func TestCrashTableOfChanges(t *testing.T) {
	t.Parallel()
	both := []string{"before", "after"}
	for name, chain := range map[string]func(t *testing.T, w *world){
		"operator": func(t *testing.T, w *world) { crashChanges(t, w, operatorChanges(), both...) },
		"waiting": func(t *testing.T, w *world) {
			w.args = []string{"--approvals", "1"}
			crashChanges(t, w, waitingChanges(w), both...)
		},
		"quota": func(t *testing.T, w *world) {
			w.args = []string{"--quota", "100"}
			quota, _ := certificateChanges(w)
			crashChanges(t, w, []change{quota}, both...)
		},
		"renewal before": func(t *testing.T, w *world) {
			_, renewal := certificateChanges(w)
			crashChanges(t, w, []change{renewal}, "before")
		},
		"renewal after": func(t *testing.T, w *world) {
			_, renewal := certificateChanges(w)
			crashChanges(t, w, []change{renewal}, "after")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain(t, newWorld(t))
		})
	}
}

// crashChanges makes all changes on one gateway, each start of which is armed for the next one's end.
func crashChanges(t *testing.T, w *world, table []change, moments ...string) {
	t.Helper()
	type ended struct {
		change
		moment, object string
	}
	var done []ended
	check := func(i *instance, e ended, when string) {
		t.Helper()
		if made := e.made(i, e.object); made != (e.moment == "after" || e.told) {
			t.Errorf("%s, ended %s the commit; %s it is there: %t", e.name, e.moment, when, made)
		}
	}
	for n, c := range table {
		for _, moment := range moments {
			i := w.start("--die-at", moment+"="+c.key)
			if len(done) > 0 {
				check(i, done[len(done)-1], "after the next start")
			}
			e := ended{c, moment, fmt.Sprintf("%s%d", moment, n)}
			c.make(i, e.object)
			i.mustExit()
			if !strings.Contains(i.cmd.ProcessState.String(), "killed") {
				t.Fatalf("%s: the gateway was not killed %s %s: %v\n%s", c.name, moment, c.key, i.cmd.ProcessState, i.log.tail())
			}
			done = append(done, e)
		}
	}
	i := w.start()
	for _, e := range done {
		check(i, e, "in the end")
	}
	i.stop()
	if out := w.mustCommand("audit", "verify"); !strings.Contains(out, "entries") {
		t.Errorf("the journal: %s", out)
	}
	must(t, os.RemoveAll(filepath.Join(w.data, "store")))
	i = w.start()
	for _, e := range done {
		if e.journal {
			check(i, e, "without its store")
		}
	}
	i.stop()
}
