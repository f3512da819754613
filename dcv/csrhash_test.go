package dcv

import (
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// goldenCSR is a CSR whose hashes were computed with another program.
const goldenCSR = `-----BEGIN CERTIFICATE REQUEST-----
MIIBGzCBwQIBADAbMRkwFwYDVQQDDBBzaG9wLmV4YW1wbGUub3JnMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEimZwt4IZdwvDbWIlAEK65BPYGCo3AEvcNju1YuO+
fUXgFiP6sRYRa1O47VgvcApn8KY8+ecw3uNf3ZN97U5yY6BEMEIGCSqGSIb3DQEJ
DjE1MDMwMQYDVR0RBCowKIIQc2hvcC5leGFtcGxlLm9yZ4IUd3d3LnNob3AuZXhh
bXBsZS5vcmcwCgYIKoZIzj0EAwIDSQAwRgIhAJmSzPpelFZRvrouWGiAGGGX2E0+
C33J4kA9vAlXPhUbAiEAtaTl5sc5IhwgX0WglJ2RIvlKKR8DWssIB6owWfj7n6M=
-----END CERTIFICATE REQUEST-----
`

const (
	goldenMD5    = "A7A2027F75E67BE1F1877DA96F86E918"
	goldenHalf1  = "440EC8C52F0F4D851659B48D35EDF2B8"
	goldenHalf2  = "625AC278DE285C0CF71AAA425E1A59B5"
	goldenUnique = "0123456789abcde"
	goldenFile   = goldenMD5 + ".txt"
	goldenOwner  = "_" + goldenMD5 + "." + testName
	goldenTarget = goldenHalf1 + "." + goldenHalf2 + "." + goldenUnique + ".comodoca.com"
	goldenText   = goldenHalf1 + goldenHalf2 + "\ncomodoca.com\n" + goldenUnique
)

func golden(t testing.TB) CSRHash {
	t.Helper()
	block, _ := pem.Decode([]byte(goldenCSR))
	h, err := NewCSRHash(block.Bytes, "comodoca.com")
	if err != nil {
		t.Fatal(err)
	}
	h.Unique = goldenUnique
	return h
}

func fromCSR(t testing.TB, m Method) Request {
	t.Helper()
	r := Request{Method: m, Identifier: mustDNS(t, testName)}
	var ok bool
	if r.Publication, ok = golden(t).Publication(m); !ok {
		t.Fatalf("%s has no publication", m)
	}
	return r
}

func TestCSRHashGolden(t *testing.T) {
	h := golden(t)
	if h.Label() != goldenMD5 || h.Target() != goldenTarget || strings.Join(h.Lines(), "\n") != goldenText {
		t.Errorf("%s, %s, %q", h.Label(), h.Target(), h.Lines())
	}
	file := Publication{Place: goldenFile, Value: goldenText}
	for m, want := range map[Method]Publication{
		CSRHashHTTP: file, CSRHashHTTPS: file, CSRHashCNAME: {Place: "_" + goldenMD5, Value: goldenTarget}, HTTPFile: {}, DNSTXT: {}, HTTP01: {}, "": {},
	} {
		if got, ok := h.Publication(m); got != want || ok != m.FromCSR() {
			t.Errorf("%q: %+v, %v", m, got, ok)
		}
	}
	shop := mustDNS(t, "shop.example.org")
	six, err := identifier.ParseIP("2001:db8::1")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		m    Method
		id   identifier.Identifier
		want string
	}{
		{CSRHashHTTP, shop, "http://shop.example.org/.well-known/pki-validation/" + goldenFile},
		{CSRHashHTTPS, shop, "https://shop.example.org/.well-known/pki-validation/" + goldenFile},
		{CSRHashHTTP, six, "http://[2001:db8::1]/.well-known/pki-validation/" + goldenFile},
		{CSRHashCNAME, shop, "_" + goldenMD5 + ".shop.example.org"},
		{CSRHashCNAME, mustDNS(t, "*.shop.example.org"), "_" + goldenMD5 + ".shop.example.org"},
	} {
		p, _ := h.Publication(row.m)
		if got := Location(row.m, row.id, p); got != row.want {
			t.Errorf("%s of %s: %s", row.m, row.id.Value(), got)
		}
	}
}

func TestCSRHashIsUsedOnce(t *testing.T) {
	one, two := golden(t), golden(t)
	var err error
	if one, err = NewCSRHash([]byte("csr"), "ca.example.com"); err != nil {
		t.Fatal(err)
	}
	if two, err = NewCSRHash([]byte("csr"), "ca.example.com"); err != nil {
		t.Fatal(err)
	}
	if one.Unique == two.Unique || one.SHA256 != two.SHA256 || !regexp.MustCompile(`^[0-9a-f]{15}$`).MatchString(one.Unique) {
		t.Errorf("%+v and %+v", one, two)
	}
	for _, suffix := range []string{"", "not a name", "*.example.com", "CA.example.com", "example.com.", "192.0.2.1"} {
		if h, err := NewCSRHash([]byte("csr"), suffix); err == nil {
			t.Errorf("%q: %+v", suffix, h)
		}
	}
	if h, err := NewCSRHash(nil, "ca.example.com"); err == nil || !h.IsZero() {
		t.Errorf("of no CSR: %+v", h)
	}
}

func TestCSRHashIsFound(t *testing.T) {
	for _, row := range []struct {
		name    string
		method  Method
		prepare func(*world)
	}{
		{"three lines", CSRHashHTTP, func(w *world) { w.web.Set(goldenFile, goldenText) }},
		{"by HTTPS", CSRHashHTTPS, func(w *world) { w.web.Set(goldenFile, goldenText) }},
		{"with a last line end", CSRHashHTTP, func(w *world) { w.web.Set(goldenFile, goldenText+"\n") }},
		{"with CRLF", CSRHashHTTP, func(w *world) { w.web.Set(goldenFile, strings.ReplaceAll(goldenText, "\n", "\r\n")+"\r\n") }},
		{"with blanks at the ends of lines", CSRHashHTTP, func(w *world) { w.web.Set(goldenFile, strings.ReplaceAll(goldenText, "\n", " \n")+" ") }},
		{"joined by blanks", CSRHashHTTP, func(w *world) { w.web.Set(goldenFile, strings.ReplaceAll(goldenText, "\n", " ")) }},
		{"a CNAME", CSRHashCNAME, func(w *world) { w.record(goldenOwner + ". 60 IN CNAME " + goldenTarget + ".") }},
		{"a CNAME in lower case", CSRHashCNAME, func(w *world) { w.record(strings.ToLower(goldenOwner + ". 60 IN CNAME " + goldenTarget + ".")) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.prepare(w)
			proof, rec := w.proves(fromCSR(t, row.method))
			if proof.Method != row.method || rec.Finding == nil || !rec.Finding.Found || !rec.Finding.Correct || rec.Finding.Trouble != "" {
				t.Errorf("%+v, %+v", proof, rec.Finding)
			}
		})
	}
}

// TestCSRHashIsRefused: each refusal says what was found, in a word for programs, and never shows a body.
func TestCSRHashIsRefused(t *testing.T) {
	content := func(body string) func(*world) {
		return func(w *world) { w.web.Set(goldenFile, body) }
	}
	broken := func(f testca.HTTPFault) func(*world) {
		return func(w *world) { w.web.Set(goldenFile, goldenText); w.web.Break(goldenFile, f) }
	}
	wrong := Finding{Found: true, Trouble: ContentWrong}
	unusable := Finding{Found: true, Trouble: ContentUnusable}
	const secret = "top-secret-of-the-inside"
	for _, row := range []struct {
		name    string
		method  Method
		prepare func(*world)
		kind    problem.Kind
		says    string
		want    Finding
	}{
		{"no file", CSRHashHTTP, func(*world) {}, problem.IncorrectResponse, "404", Finding{Trouble: StatusWrong, Status: 404}},
		{"a redirect", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: 1}), problem.IncorrectResponse, "302", Finding{Trouble: StatusWrong, Status: 302}},
		{"a redirect by HTTPS", CSRHashHTTPS, broken(testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: 1, Status: 308}), problem.IncorrectResponse, "308", Finding{Trouble: StatusWrong, Status: 308}},
		{"a file with status 201", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPContent, Status: 201, Body: goldenText}), problem.IncorrectResponse, "201", Finding{Trouble: StatusWrong, Status: 201}},
		{"no separators", CSRHashHTTP, content(strings.ReplaceAll(goldenText, "\n", "")), problem.IncorrectResponse, "expected a file", wrong},
		{"two lines", CSRHashHTTP, content(strings.Join(golden(t).Lines()[:2], "\n")), problem.IncorrectResponse, "expected a file", wrong},
		{"another sequence", CSRHashHTTP, content("comodoca.com\n" + goldenHalf1 + goldenHalf2 + "\n" + goldenUnique), problem.IncorrectResponse, "expected a file", wrong},
		{"another value", CSRHashHTTP, content(strings.Replace(goldenText, goldenUnique, "0123456789abcdf", 1)), problem.IncorrectResponse, "expected a file", wrong},
		{"another authority", CSRHashHTTP, content(strings.Replace(goldenText, "comodoca", "example", 1)), problem.IncorrectResponse, "expected a file", wrong},
		{"another letter case", CSRHashHTTP, content(strings.ToLower(goldenText)), problem.IncorrectResponse, "expected a file", wrong},
		{"a word more", CSRHashHTTP, content(goldenText + " more"), problem.IncorrectResponse, "expected a file", wrong},
		{"a byte order mark", CSRHashHTTP, content("\ufeff" + goldenText), problem.IncorrectResponse, "expected a file", wrong},
		{"a wide blank", CSRHashHTTP, content(strings.ReplaceAll(goldenText, "\n", "\u00a0")), problem.IncorrectResponse, "expected a file", wrong},
		{"something else", CSRHashHTTP, content(secret), problem.IncorrectResponse, "text of", wrong},
		{"an HTML page", CSRHashHTTP, content("<html>" + secret), problem.IncorrectResponse, "an HTML page", unusable},
		{"an empty file", CSRHashHTTP, content(""), problem.IncorrectResponse, "empty body", unusable},
		{"a huge file", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPOversizedBody}), problem.IncorrectResponse, "more than", unusable},
		{"an endless file", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPEndlessBody}), problem.IncorrectResponse, "more than", unusable},
		{"no HTTP", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPRaw, Body: secret + "\r\n\r\n"}), problem.IncorrectResponse, "HTTP response", Finding{Trouble: TransportFailed}},
		{"a hang-up", CSRHashHTTP, broken(testca.HTTPFault{Kind: testca.HTTPHangUp}), problem.Connection, "closed the connection", Finding{Trouble: TransportFailed}},
		{"an address of the inside", CSRHashHTTP, func(w *world) { w.dns.Remove(testName); w.record(testName + ". 60 IN A 10.1.2.3") }, problem.DNS, "may not contact", Finding{Trouble: TransportFailed}},
		{"metadata's address", CSRHashHTTP, func(w *world) { w.dns.Remove(testName); w.record(testName + ". 60 IN A 169.254.169.254") }, problem.DNS, "may not contact", Finding{Trouble: TransportFailed}},
		{"no CNAME", CSRHashCNAME, func(*world) {}, problem.DNS, "NXDOMAIN", Finding{}},
		{"a TXT record in its place", CSRHashCNAME, func(w *world) { w.txt(goldenOwner, goldenTarget) }, problem.DNS, "no CNAME record", Finding{}},
		{"another target", CSRHashCNAME, func(w *world) { w.record(goldenOwner + ". 60 IN CNAME other.example.net.") }, problem.IncorrectResponse, "other.example.net", Finding{Found: true, Target: "other.example.net"}},
		{"a CNAME that leads to the right one", CSRHashCNAME, func(w *world) {
			w.record(goldenOwner + ". 60 IN CNAME between.example.net.")
			w.record("between.example.net. 60 IN CNAME " + goldenTarget + ".")
		}, problem.IncorrectResponse, "between.example.net", Finding{Found: true, Target: "between.example.net"}},
		{"a CNAME that leads to itself", CSRHashCNAME, func(w *world) { w.record(goldenOwner + ". 60 IN CNAME " + goldenOwner + ".") }, problem.IncorrectResponse, "alias of", Finding{Found: true, Target: strings.ToLower(goldenOwner)}},
		{"a server that fails", CSRHashCNAME, func(w *world) {
			w.record(goldenOwner + ". 60 IN CNAME " + goldenTarget + ".")
			w.dns.Break(goldenOwner, dns.TypeCNAME, testca.DNSFault{Kind: testca.DNSServFail})
		}, problem.DNS, "SERVFAIL", Finding{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.prepare(w)
			rec := w.failsAs(t.Context(), fromCSR(t, row.method), row.kind, row.says)
			if rec.Finding == nil || *rec.Finding != row.want {
				t.Errorf("found %+v, want %+v", rec.Finding, row.want)
			}
			shown, err := json.Marshal(rec)
			if err != nil || strings.Contains(string(shown), secret) {
				t.Errorf("the record shows a body: %s, %v", shown, err)
			}
		})
	}
}

func TestCSRHashTimesOut(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Timeout = 300e6 })
	w.web.Break(goldenFile, testca.HTTPFault{Kind: testca.HTTPSilent})
	rec := w.failsAs(t.Context(), fromCSR(t, CSRHashHTTP), problem.Connection, "timed out")
	if rec.Finding == nil || rec.Finding.Trouble != TooSlow {
		t.Errorf("%+v", rec.Finding)
	}
}

// TestFilesProveAddresses: Baseline Requirements 3.2.2.5.1.
func TestFilesProveAddresses(t *testing.T) {
	w := newWorld(t)
	w.web.Set(goldenFile, goldenText)
	req := fromCSR(t, CSRHashHTTP)
	var err error
	if req.Identifier, err = identifier.ParseIP("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if proof, _ := w.proves(req); proof.Identifier.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%+v", proof)
	}
	for m, id := range map[Method]identifier.Identifier{CSRHashCNAME: req.Identifier, CSRHashHTTP: mustDNS(t, "*.example.com"), CSRHashCNAME + "2": req.Identifier} {
		other := fromCSR(t, CSRHashHTTP)
		other.Method, other.Identifier = m, id
		if p, ok := golden(t).Publication(m); ok {
			other.Publication = p
		}
		if _, _, err := w.v.Check(t.Context(), other); err == nil {
			t.Errorf("%s proves %s", m, id.Value())
		}
	}
}

// FuzzCSRHashContent: no body but the three words in their sequence passes, and what is compared is never longer than what came.
func FuzzCSRHashContent(f *testing.F) {
	for _, seed := range []string{goldenText, goldenText + "\r\n", strings.ReplaceAll(goldenText, "\n", " "), "", "\x00", "a\nb\nc", strings.Repeat(" ", 300)} {
		f.Add(seed)
	}
	want := strings.Fields(goldenText)
	f.Fuzz(func(t *testing.T, body string) {
		passes := words(body) == words(goldenText)
		if got := strings.FieldsFunc(body, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }); passes != slices.Equal(got, want) {
			t.Errorf("%q passes: %v", body, passes)
		}
		if len(words(body)) > len(body) || strings.ContainsAny(words(body), "\r\n\t") {
			t.Errorf("%q became %q", body, words(body))
		}
		if shown := shownTarget(body); len(shown) > maxTarget || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is shown as %q", body, shown)
		}
	})
}
