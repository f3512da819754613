package main

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/gatehouse-ca/gatehouse/ca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// initialize runs init as main does.
func initialize(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"init"}, args...), streams{&out, &errs})
	return out.String(), errs.String(), status
}

func mustInit(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, status := initialize(t, args...)
	if status != 0 || errs != "" {
		t.Fatalf("init %v: status %d\n%s", args, status, errs)
	}
	return out
}

// tree is every file and folder below a folder, with mode and content.
func tree(t testing.TB, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if !d.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(content)
		}
		rel, err := filepath.Rel(folder, path)
		out[rel] = info.Mode().String() + " " + text
		return err
	}))
	return out
}

// TestInitFiles are what init makes: keys for their owner alone, and nothing else than what it says.
func TestInitFiles(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "deep", "ca")
	out := mustInit(t, folder)
	want := map[string]string{
		".": "drwx------", "root": "drwx------", "root/root.key": "-rw-------", "root/root.pem": "-rw-r--r--", "root.pem": "-rw-r--r--",
		"issuers": "drwx------", "issuers/main": "drwx------", "issuers/main/issuer.key": "-rw-------", "issuers/main/issuer.pem": "-rw-r--r--",
		"gatehouse.yaml": "-rw-r--r--", "seal.key": "-rw-------",
	}
	got := map[string]string{}
	for path, text := range tree(t, folder) {
		got[path], _, _ = strings.Cut(text, " ")
	}
	if !maps.Equal(got, want) {
		t.Errorf("it made %v, want %v", got, want)
	}
	for _, says := range []string{
		"Move " + filepath.Join(folder, "root"), "never reads that folder", "gatehouse check --config " + filepath.Join(folder, "gatehouse.yaml"),
		"gatehouse serve --config", "update-ca-certificates", "REQUESTS_CA_BUNDLE=" + filepath.Join(folder, "root.pem") + " certbot certonly",
		"--server https://localhost:8443/acme/directory", "for a try on this machine",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("it does not say %q:\n%s", says, out)
		}
	}
	// The gateway does not need the root's folder.
	must(t, os.Rename(filepath.Join(folder, "root"), filepath.Join(t.TempDir(), "away")))
	initSettings(t, folder)
}

// initSettings reads the configuration as a gateway does.
func initSettings(t testing.TB, folder string) *settings {
	t.Helper()
	path := filepath.Join(folder, "gatehouse.yaml")
	text, err := os.ReadFile(path)
	must(t, err)
	text = append(text, "validation: {resolvers: [\"192.0.2.53:53\"]}\n"...) // a machine that runs tests may have none in /etc/resolv.conf
	file, err := parseConfig(path, text)
	must(t, err)
	s, err := file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0))
	must(t, err)
	must(t, file.tryIssuers(s))
	return s
}

// TestInitCertificates are the root and the issuer, by RFC 5280 and by zlint.
func TestInitCertificates(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "ca")
	mustInit(t, folder, "--name", "Böller & Söhne")
	chain, err := ca.LoadChain(filepath.Join(folder, "issuers", "main", "issuer.pem"))
	must(t, err)
	trusted, err := ca.LoadChain(filepath.Join(folder, "root.pem"))
	must(t, err)
	if len(chain) != 2 || len(trusted) != 1 || !chain[1].Equal(trusted[0]) {
		t.Fatalf("a chain of %d and %d to be trusted", len(chain), len(trusted))
	}
	now := time.Now()
	for i, tt := range []struct {
		cn         string
		curve      elliptic.Curve
		pathLen    int
		pathLenSet bool
		years      int
	}{{"Böller & Söhne Issuing CA", elliptic.P256(), 0, true, 5}, {"Böller & Söhne Root CA", elliptic.P384(), -1, false, 10}} {
		c := chain[i]
		key, err := ca.LoadKey(filepath.Join(folder, []string{"issuers/main/issuer.key", "root/root.key"}[i]))
		must(t, err)
		if c.Subject.CommonName != tt.cn || len(c.Subject.Names) != 1 || !c.IsCA || !c.BasicConstraintsValid ||
			c.MaxPathLen != tt.pathLen || c.MaxPathLenZero != tt.pathLenSet || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign ||
			len(c.ExtKeyUsage) != 0 || len(c.SubjectKeyId) != 20 || c.SerialNumber.BitLen() < 126 || c.SerialNumber.Sign() != 1 {
			t.Errorf("%s is %+v", tt.cn, c)
		}
		if end := now.AddDate(tt.years, 0, 0); c.NotAfter.After(end) || c.NotAfter.Before(end.Add(-2*time.Hour)) || now.Sub(c.NotBefore) < time.Hour {
			t.Errorf("%s is valid from %s to %s", tt.cn, c.NotBefore, c.NotAfter)
		}
		if pub, ok := key.Public().(interface{ Params() *elliptic.CurveParams }); ok && pub.Params().Name != tt.curve.Params().Name {
			t.Errorf("%s has a key on %s", tt.cn, pub.Params().Name)
		}
		if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.PublicKey) {
			t.Errorf("%s is for another key", tt.cn)
		}
		lints(t, c)
	}
	if !bytes.Equal(chain[0].AuthorityKeyId, chain[1].SubjectKeyId) {
		t.Error("the issuer names another key than the root's")
	}
}

// lints holds a certificate to the IETF's rules, as the signing gate holds leaves.
func lints(t *testing.T, c *x509.Certificate) {
	t.Helper()
	parsed, err := zx509.ParseCertificate(c.Raw)
	must(t, err)
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{
		lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6960, lint.RFC6962, lint.RFC8813,
	}})
	must(t, err)
	results := zlint.LintCertificateEx(parsed, registry)
	if len(results.Results) < 50 {
		t.Fatalf("%d lints ran", len(results.Results))
	}
	for name, r := range results.Results {
		if r.Status >= lint.Warn {
			t.Errorf("%s: %s is a %s: %s", c.Subject.CommonName, name, r.Status, r.Details)
		}
	}
}

// TestInitOpenSSL has another implementation verify the chain and match the keys.
func TestInitOpenSSL(t *testing.T) {
	testneed.Programs(t, "openssl")
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "ca")
	mustInit(t, folder)
	at := func(path string) string { return filepath.Join(folder, path) }
	openssl(t, "verify", "-x509_strict", "-CAfile", at("root.pem"), at("issuers/main/issuer.pem"))
	for cert, key := range map[string]string{"root.pem": "root/root.key", "issuers/main/issuer.pem": "issuers/main/issuer.key"} {
		if a, b := openssl(t, "x509", "-in", at(cert), "-noout", "-pubkey"), openssl(t, "pkey", "-in", at(key), "-pubout"); a != b {
			t.Errorf("%s is not for %s", cert, key)
		}
	}
}

// TestInitOnce: what is there stays, byte for byte.
func TestInitOnce(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "ca")
	mustInit(t, folder)
	before := tree(t, folder)
	_, stderr, status := initialize(t, folder, "--url", "https://other.example.com")
	if status != 1 || !strings.HasPrefix(stderr, "gatehouse: "+folder+" holds a certificate authority already, and nothing of it is changed; use it (gatehouse check --config ") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if out := mustInit(t, folder, "--if-absent", "--url", "nonsense"); out != folder+" is complete; nothing was changed\n" {
		t.Errorf("--if-absent prints %q", out)
	}
	if after := tree(t, folder); !maps.Equal(before, after) {
		t.Error("a later init changed the folder")
	}
	if _, stderr, status := initialize(t, folder, "--force"); status != 1 || !strings.Contains(stderr, "unknown flag --force") {
		t.Errorf("--force: status %d, %s", status, stderr)
	}
}

// TestInitHalfway: after each write that an init may have come to, the next one says what is there and what to do, and
// changes nothing.
func TestInitHalfway(t *testing.T) {
	t.Parallel()
	for left, names := range map[string]string{
		"issuers": "issuers", "issuers/main root": "issuers, root", "issuers/main root/root.key root.pem": "issuers, root, root.pem",
		"issuers/main/issuer.key root .gatehouse.yaml.new": ".gatehouse.yaml.new, issuers, root",
	} {
		folder := t.TempDir()
		for _, path := range strings.Fields(left) {
			path = filepath.Join(folder, path)
			if filepath.Ext(path) == "" {
				must(t, os.MkdirAll(path, 0o700))
				continue
			}
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			must(t, os.WriteFile(path, []byte("half"), 0o600))
		}
		before := tree(t, folder)
		for _, flags := range [][]string{nil, {"--if-absent"}} {
			_, stderr, status := initialize(t, append(flags, folder)...)
			if status != 1 || !strings.HasPrefix(stderr, "gatehouse: "+folder+" holds "+names+" but no configuration: ") || !strings.Contains(stderr, "rm -r "+folder) {
				t.Errorf("%s: status %d, %s", left, status, stderr)
			}
		}
		if !maps.Equal(before, tree(t, folder)) {
			t.Errorf("%s was changed", left)
		}
	}
}

// TestInitTogether: of several at once one makes it, whole, and the others change nothing.
func TestInitTogether(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "ca")
	var wg sync.WaitGroup
	var mu sync.Mutex
	winners := 0
	for range 8 {
		wg.Go(func() {
			if _, stderr, status := initialize(t, folder); status == 0 {
				mu.Lock()
				winners++
				mu.Unlock()
			} else if !strings.Contains(stderr, folder) {
				t.Error(stderr)
			}
		})
	}
	wg.Wait()
	if winners != 1 {
		t.Errorf("%d of 8 made it", winners)
	}
	initSettings(t, folder)
}

// TestInitNewFile: a file or folder that exists is an error, and stays.
func TestInitNewFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	must(t, newFile(path, []byte("first"), 0o600))
	if err := newFile(path, []byte("second"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second file of the name: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first" {
		t.Error(string(text), err)
	}
	if err := newFolders(folder); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second folder of the name: %v", err)
	}
}

// TestInitLeavesOthersAlone: a folder may hold other things, and a file is no folder.
func TestInitLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	note := filepath.Join(folder, "notes.txt")
	must(t, os.WriteFile(note, []byte("mine"), 0o644))
	mustInit(t, folder)
	if text, err := os.ReadFile(note); err != nil || string(text) != "mine" {
		t.Error(string(text), err)
	}
	if _, stderr, status := initialize(t, note); status != 1 || !strings.Contains(stderr, "is no folder") {
		t.Errorf("a file: status %d, %s", status, stderr)
	}
}

// spaced are values with a space between each two.
func spaced(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

// TestInitConfiguration is what the flags come to.
func TestInitConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		flags []string
		want  func(s *settings) string
		is    string
	}{
		"nothing": {nil, func(s *settings) string {
			org := s.organisations.Default()
			return spaced(s.publicURLs, s.listen, s.httpURL, s.httpListen, s.own.texts(), s.adminListen, org.ID, org.Slug, org.Name)
		}, "[https://localhost:8443] :8443 http://localhost:8080 :8080 [localhost] 127.0.0.1:9464 1 main main"},
		"a URL": {[]string{"--url", "https://ca.example.com"}, func(s *settings) string {
			return spaced(s.publicURLs, s.listen, s.httpURL, s.httpListen, s.own.texts())
		}, "[https://ca.example.com] :443 http://ca.example.com :80 [ca.example.com]"},
		"an address": {[]string{"--url", "https://[2001:db8::1]:8443"}, func(s *settings) string {
			return spaced(s.publicURLs, s.listen, s.httpURL, s.own.texts())
		}, "[https://[2001:db8::1]:8443] :8443 http://[2001:db8::1] [2001:db8::1]"},
		"behind a proxy": {[]string{"--url", "http://ca.example.com:8000", "--http-url", "http://pki.example.com:81"}, func(s *settings) string {
			return spaced(s.listen, s.httpURL, s.httpListen, s.own == nil, s.tls == nil)
		}, ":8000 http://pki.example.com:81 :81 true true"},
		"addresses": {[]string{"--listen", "192.0.2.1:443", "--http-listen", "192.0.2.1:80"}, func(s *settings) string {
			return spaced(s.listen, s.httpListen)
		}, "192.0.2.1:443 192.0.2.1:80"},
		"an organisation and data": {[]string{"--org", "web-team", "--data", "/var/lib/gate house"}, func(s *settings) string {
			return spaced(s.organisations.Default().Slug, s.folder)
		}, "web-team /var/lib/gate house"},
		"Redis": {[]string{"--redis", "redis:6379"}, func(s *settings) string {
			return spaced(s.redis.Addrs, s.redis.Cluster, s.redis.MasterName)
		}, "[redis:6379] false"},
		"sentinels": {[]string{"--redis", "a:26379", "--redis", "b:26379", "--redis-master", "gate"}, func(s *settings) string {
			return spaced(s.redis.Addrs, s.redis.Cluster, s.redis.MasterName)
		}, "[a:26379 b:26379] false gate"},
		"a Cluster": {[]string{"--redis=a:7000,b:7000", "--redis-cluster"}, func(s *settings) string {
			return spaced(s.redis.Addrs, s.redis.Cluster)
		}, "[a:7000 b:7000] true"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "it's a \"folder\": #1")
			mustInit(t, append(tt.flags, folder)...)
			if got := tt.want(initSettings(t, folder)); got != tt.is {
				t.Errorf("it is\n%s\nwant\n%s", got, tt.is)
			}
		})
	}
}

// TestInitRefusals are said before anything is written.
func TestInitRefusals(t *testing.T) {
	t.Parallel()
	for says, flags := range map[string][]string{
		`--url: "ca.example.com" is no URL of this kind; .*`:                    {"--url", "ca.example.com"},
		`--url: "https://ca.example.com/" ends with a slash; leave it away`:     {"--url", "https://ca.example.com/"},
		`--url: "https://ca.example.com/acme" has a path; .*`:                   {"--url", "https://ca.example.com/acme"},
		`--url: .*"ca_1.example.com".*`:                                         {"--url", "https://ca_1.example.com"},
		`--http-url: "https://ca.example.com" is no URL of this kind; .*`:       {"--http-url", "https://ca.example.com"},
		`--listen: "443" is not host:port, as in :443`:                          {"--listen", "443"},
		`--http-listen: :80 is the address of the doors; CRLs need another, .*`: {"--url", "http://ca.example.com"},
		`--name: "" is no name of 1 to 40 characters .*`:                        {"--name", ""},
		`--name: "x{41}" is no name of .*`:                                      {"--name", strings.Repeat("x", 41)},
		`--org: slug "Web" of id 1 cannot be used; .*`:                          {"--org", "Web"},
		`--redis is missing: .*`:                                                {"--redis-cluster"},
		`--redis: .*several addresses need the master's name.*`:                 {"--redis", "a:1", "--redis", "b:1"},
	} {
		folder := filepath.Join(t.TempDir(), "ca")
		_, stderr, status := initialize(t, append(flags, folder)...)
		if !regexp.MustCompile("^gatehouse: "+says+"\n$").MatchString(stderr) || status != 1 {
			t.Errorf("%v: status %d\n%swant\n%s", flags, status, stderr, says)
		}
		if _, err := os.Stat(folder); err == nil {
			t.Errorf("%v: the folder was made", flags)
		}
	}
}

// TestInitJSON is the report for programs.
func TestInitJSON(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "ca")
	var r initReport
	must(t, json.Unmarshal([]byte(mustInit(t, folder, "--json")), &r))
	chain, err := ca.LoadChain(r.Root)
	must(t, err)
	sum := sha256.Sum256(chain[0].Raw)
	if !r.Created || r.Config != filepath.Join(folder, "gatehouse.yaml") || r.RootSHA256 != hex.EncodeToString(sum[:]) || !r.RootNotAfter.Equal(chain[0].NotAfter) {
		t.Errorf("the report is %+v", r)
	}
	must(t, json.Unmarshal([]byte(mustInit(t, folder, "--json", "--if-absent")), &r))
	if r.Created {
		t.Error("--if-absent says that it made something")
	}
}
