package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// scmCrash is a call at SCM's door that a gateway is ended in, and what a program then does to be done.
type scmCrash struct {
	name   string
	points []string
	call   func(c *scmClient, first int) error
	// done says whether what was asked for has come to be; if it has not, the program asks again.
	done func(c *scmClient, first int) bool
}

func scmCrashes(t *testing.T) []scmCrash {
	var steps, commits []string
	for _, step := range []int{1, 3, 4, 5, 6, 7, 8, 9, 10, 11} {
		steps = append(steps, fmt.Sprintf("step=%d:1", step))
	}
	for n := range 2 {
		commits = append(commits, fmt.Sprintf("before=certificate/:%d", n+1), fmt.Sprintf("after=certificate/:%d", n+1))
	}
	csr := quotedCSR(t, "new.example.com")
	replacement := quotedCSR(t, "first.example.com")
	return []scmCrash{
		{
			"enroll", append(steps, commits...),
			func(c *scmClient, _ int) error {
				return c.try("POST", "/enroll", `{"orgId":1,"certType":1,"csr":`+csr+`}`)
			},
			func(c *scmClient, _ int) bool { return c.oneIssued("new.example.com", 1) },
		},
		{
			"replace", commits,
			func(c *scmClient, first int) error {
				return c.try("POST", fmt.Sprintf("/replace/%d", first), `{"reason":"new key","csr":`+replacement+`}`)
			},
			func(c *scmClient, _ int) bool { return c.oneIssued("first.example.com", 2) },
		},
		{
			"revoke", []string{"before=certificate/:1", "after=certificate/:1", "before=crl/:1", "after=crl/:1"},
			func(c *scmClient, first int) error {
				return c.try("POST", fmt.Sprintf("/revoke/%d", first), `{"reasonCode":4,"reason":"x"}`)
			},
			func(c *scmClient, _ int) bool { return len(c.list("status=Revoked")) == 1 },
		},
	}
}

// try makes a call whose answer may be lost. Both that and an error answered are errors.
func (c *scmClient) try(method, path, body string) error {
	resp, err := c.send(method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

// oneIssued waits until each enrollment with a name is issued, and says whether there are so many; there are never more.
func (c *scmClient) oneIssued(name string, want int) bool {
	c.t.Helper()
	for {
		found, issued := c.list("commonName="+name), c.list("status=Issued&commonName="+name)
		if len(found) > want {
			c.t.Fatalf("there are %d enrollments for %s", len(found), name)
		}
		if len(found) == len(issued) {
			return len(issued) == want
		}
		if !pause(c.t.Context()) {
			c.t.Fatalf("of %d enrollments for %s %d are issued", len(found), name, len(issued))
		}
	}
}

// copyData has the gateway here begin with what one that was stopped has left, for itself alone.
func (w *world) copyData(from *world) {
	w.t.Helper()
	must(w.t, os.CopyFS(w.data, os.DirFS(from.data)))
	must(w.t, filepath.WalkDir(w.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		return os.Chmod(path, 0o600)
	}))
}

// TestCrashTableOfSCM ends the gateway between the writes of what programs for SCM ask for, starts it again, and lets the
// program look for what became of its call and ask again if it must. What it was told has happened has happened, nothing
// happens twice, and everything that was signed is on record.
func TestCrashTableOfSCM(t *testing.T) {
	t.Parallel()
	dns, err := testca.NewDNS(testca.DNSConfig{})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	before := newWorld(t)
	before.args = []string{"--delegated-domains", "--resolver", dns.Addr()}
	i := before.start()
	i.mustCommand("domain", "add", "example.com", "--org", "dev")
	v := i.domain("validate", "example.com", "--method", "txt")
	must(t, dns.Add(v.Validation.Location+". 60 IN TXT "+v.Validation.Value))
	i.domain("check", "example.com")
	c := newSCMClient(i, "ada", "requester", "administrator")
	var first scmItem
	c.call("POST", "/enroll", `{"orgId":1,"certType":1,"csr":`+quotedCSR(t, "first.example.com")+`}`, http.StatusOK, &first)
	i.stop()

	for _, x := range scmCrashes(t) {
		for _, point := range x.points {
			t.Run(x.name+" "+point, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.args = before.args
				w.copyData(before)
				witness := filepath.Join(t.TempDir(), "witness")
				i := w.start("--witness", witness, "--die-at", point)
				c := &scmClient{i, t, i.client(), c.login, c.password}
				err := x.call(c, first.ID)
				i.mustExit()
				if !strings.Contains(i.cmd.ProcessState.String(), "killed") {
					t.Fatalf("the gateway was not killed: %v, %v\n%s", err, i.cmd.ProcessState, i.log.tail())
				}
				i = w.start("--witness", witness)
				c.instance, c.http = i, i.client()
				if !x.done(c, first.ID) {
					if err == nil {
						t.Fatal("what was acknowledged is gone")
					}
					must(t, x.call(c, first.ID))
					if !x.done(c, first.ID) {
						t.Fatal("it was asked for again, and has not come to be")
					}
				}
				i.stop()
				judge(t, w, witness, nil)
			})
		}
	}
}
