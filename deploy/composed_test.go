//go:build linux

package deploy

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestCompose runs what docker-compose.yml says, each service with its command line in a container of its own, until
// certbot has its certificate. Then the gateway that issued it is stopped, and certbot renews through the other.
func TestCompose(t *testing.T) {
	testneed.OnlyIfListed(t, "redis-server")
	testneed.Programs(t, "redis-server", "haproxy", "certbot", "openssl")
	for _, program := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			testneed.Missing(t, "netns", err)
		}
	}
	p := newProject(t)
	for name := range p.file.Services {
		p.start(name)
	}
	p.up["certbot"].awaitEnd()
	certificate := func(file string) string {
		return filepath.Join(p.volumes, "certificates", "live", "www.example.com", file)
	}
	serial := func() string {
		t.Helper()
		output(t, "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", filepath.Join(p.volumes, "trust", "root.pem"),
			"-untrusted", certificate("chain.pem"), "-verify_hostname", "www.example.com", certificate("cert.pem"))
		return strings.ToLower(strings.TrimPrefix(strings.TrimSpace(output(t, "openssl", "x509", "-in", certificate("cert.pem"), "-noout", "-serial")), "serial="))
	}
	first := serial()
	issuer, other := "gateway1", "gateway2"
	if finalized(p.up[other]) {
		issuer, other = other, issuer
	}
	if !finalized(p.up[issuer]) || finalized(p.up[other]) {
		t.Fatalf("certbot has a certificate, and it was not one of the gateways that finalized the order:\n%s", p.up[issuer].log)
	}

	// The other one takes over: the account, made through the first, is in the shared store. While the first stops nobody
	// is turned away.
	asked := p.ask("https://ca.example.com/acme/directory", "http://ca.example.com/crl/main/0.crl")
	p.up[issuer].stop()
	asked()
	startContainer(p, "certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew").awaitEnd()
	second := serial()
	if second == first {
		t.Error("certbot renew left the old certificate in place")
	}
	if !finalized(p.up[other]) {
		t.Errorf("%s issued nothing:\n%s", other, p.up[other].log)
	}

	// "up" once more: what is there stays, and what was stopped comes back with its journal.
	before := readVolume(t, p, "authority", "gatehouse.yaml")
	for _, name := range []string{"init", issuer} {
		delete(p.up, name)
	}
	p.start(issuer)
	p.up[issuer].awaitHealth()
	if readVolume(t, p, "authority", "gatehouse.yaml") != before {
		t.Error("a second init changed the configuration")
	}
	for _, name := range []string{issuer, other} {
		for _, s := range []string{first, second} {
			if list := certList(t, p.up[name]); !slices.Contains(list, s) {
				t.Errorf("%s does not list %s: %v", name, s, list)
			}
		}
		if out, err := p.up[name].exec(t.Context(), p.up[name].image.program, "audit", "verify"); err != nil {
			t.Errorf("%s: audit verify: %v\n%s", name, err, out)
		}
	}
	for _, name := range []string{"balancer", issuer, other, "redis"} { // as "down" does: who depends on others first
		p.up[name].stop()
	}
}

// ask asks through the balancer, a connection for each question, until the returned function is called. Every answer must
// be 200, the second URL's a list.
func (p *project) ask(door, list string) (stop func()) {
	p.t.Helper()
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(readVolume(p.t, p, "trust", "root.pem"))) {
		p.t.Fatal("root.pem holds no certificate")
	}
	client := p.networks["clients"].client(trusted)
	ctx, cancel := context.WithCancel(p.t.Context())
	answers := make(chan int)
	go func() {
		defer close(answers)
		for n := 1; ; n++ {
			body, err := get(client, door)
			if err == nil {
				body, err = get(client, list)
			}
			if err == nil {
				_, err = x509.ParseRevocationList(body)
			}
			if err != nil {
				p.t.Errorf("question %d: %v", n, err)
			}
			select {
			case <-ctx.Done():
				answers <- n
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() {
		p.t.Helper()
		cancel()
		if n := <-answers; n < 10 {
			p.t.Errorf("%d questions are too few to show anything", n)
		}
	}
}

func get(client *http.Client, url string) ([]byte, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// finalized reports whether an ACME client finalized its order at this gateway, by the log.
func finalized(c *container) bool {
	return regexp.MustCompile(`"endpoint":"acme/finalize","status":200`).MatchString(c.log.String())
}

// certList asks the running gateway, as "docker compose exec gateway1 /usr/bin/gatehouse cert list" does.
func certList(t *testing.T, c *container) (serials []string) {
	t.Helper()
	out, err := c.exec(t.Context(), c.image.program, "cert", "list", "--json")
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.name, err, out)
	}
	for _, m := range regexp.MustCompile(`"serial": ?("[^"]*")`).FindAllStringSubmatch(out, -1) {
		var s string
		must(t, json.Unmarshal([]byte(m[1]), &s))
		serials = append(serials, strings.ToLower(s))
	}
	return serials
}

func readVolume(t testing.TB, p *project, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{p.volumes}, path...)...))
	must(t, err)
	return string(text)
}
