package scm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

const (
	dcvPath  = "/api/dcv/v1/validation"
	dcvPath2 = "/api/dcv/v2/validation"
	itself   = `{"domain":"example.com"}`
)

// dcvWorld has domains of main: example.com and a.example.com without a proof, shop.example.com with one by CNAME, and old.example.com with an
// expired one by mail; of branch east.example.com; of other foreign.example.net; and big.example.com of main, delegated to branch.
func dcvWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.mailed("old.example.com", "main")
	w.wait(100 * 24 * time.Hour)
	w.validated("shop.example.com", "main", dcv.DNSCNAME)
	w.validated("big.example.com", "main", dcv.DNSTXT)
	_, err := w.Domains.Delegate(t.Context(), operator, "big.example.com", "branch")
	must(t, err)
	_, err = w.Domains.Approve(t.Context(), operator, "big.example.com", "branch")
	must(t, err)
	w.domain("example.com", "main")
	w.domain("a.example.com", "main")
	w.domain("east.example.com", "branch")
	w.validated("foreign.example.net", "other", dcv.DNSTXT)
	return w
}

// mailed is a domain that somebody at admin@ has confirmed.
func (w *world) mailed(name, slug string) {
	w.t.Helper()
	w.domain(name, slug)
	w.sent(name)
	w.answer(name, "admin@"+name, false)
}

func (w *world) sent(name string) {
	w.t.Helper()
	_, err := w.Domains.ValidateByEmail(w.t.Context(), operator, name, []string{"admin@" + name})
	must(w.t, err)
}

// answer presses a button of the mail to an address for a domain.
func (w *world) answer(name, address string, reject bool) {
	w.t.Helper()
	mails, err := w.db.Mails(w.t.Context(), false, nil, 100)
	must(w.t, err)
	m := mails[slices.IndexFunc(mails, func(m *ra.Mail) bool { return m.To == address && m.Data["domain"] == name })]
	code, err := w.Domains.Email.Sealer.Open(w.t.Context(), seal.MailSecret, m.ID, m.Sealed)
	must(w.t, err)
	id := strings.TrimSuffix(strings.TrimPrefix(m.Data["link"], "https://ca.example.com/dcv/email/"), "/")
	_, err = w.Domains.AnswerEmail(w.t.Context(), ra.EmailAnswer{ID: id, Code: string(code), Reject: reject, From: w.Remote(nil)})
	must(w.t, err)
	must(w.t, w.db.RemoveMail(w.t.Context(), m))
}

// record is a domain as it stands.
func (w *world) record(name string) *ra.Domain {
	w.t.Helper()
	d, err := w.Domains.Get(w.t.Context(), operator, name)
	must(w.t, err)
	return d
}

func TestDCVList(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	w.call("ada", "POST", dcvPath+"/start/domain/http", itself, 200)
	_, err := w.Domains.Validate(t.Context(), operator, "shop.example.com", dcv.DNSTXT)
	must(t, err)
	w.goldens([]exchange{
		{"dcvapi-list", "ada", "GET", dcvPath + "?size=10&position=0&org=&department=&domain=&expiresIn=&dcvStatus=&orderStatus=", ""},
		{"dcvapi-list-v2", "aud", "GET", dcvPath2 + "?size=2&position=3", ""},
		{"dcvapi-list-org", "ada", "GET", dcvPath + "?org=3", ""},
		{"dcvapi-list-expiring", "ada", "GET", dcvPath + "?expiresIn=5", ""},
		{"dcvapi-list-no-such-status", "ada", "GET", dcvPath + "?dcvStatus=LOST", ""},
		{"dcvapi-list-no-such-order-status", "ada", "GET", dcvPath + "?orderStatus=LOST", ""},
		{"dcvapi-list-foreign-org", "ada", "GET", dcvPath + "?org=2", ""},
		{"dcvapi-list-twice", "ada", "GET", dcvPath + "?org=1&org=3", ""},
		{"dcvapi-list-expires-in-no-days", "ada", "GET", dcvPath + "?expiresIn=-1", ""},
		{"dcvapi-list-too-many", "ada", "GET", dcvPath + "?size=201", ""},
		{"dcvapi-list-of-others", "olga", "GET", dcvPath, ""},
		{"dcvapi-report", "ada", "POST", "/api/report/v1/domains", "{}"},
		{"dcvapi-report-output", "ada", "POST", "/api/report/v1/domains?output_type=pdf", ""},
	})
	for query, want := range map[string]string{
		"domain=*.SHOP.example.com": "shop", "domain=shop&dcvStatus=validated": "shop", "dcvStatus=Not%20Validated": "a east example.com", "dcvStatus=EXPIRED": "old",
		"orderStatus=awaiting+submission": "example.com", "orderStatus=SUBMITTED": "shop", "orderStatus=REJECTED": "", "orderStatus=NOT_INITIATED": "a big east old",
		"department=3": "big east", "org=1&department=3": "big east", "org=3&department=1": "", "expiresIn=95": "big old shop", "domain=nothing": "",
	} {
		rec := w.call("ada", "GET", dcvPath2+"?"+query, "", 200)
		var items []dcvItem
		must(t, json.Unmarshal(rec.Body.Bytes(), &items))
		var names []string
		for _, i := range items {
			names = append(names, strings.TrimSuffix(i.Domain, ".example.com"))
		}
		if got := strings.Join(names, " "); got != want || rec.Header().Get("X-Total-Count") != fmt.Sprint(len(names)) {
			t.Errorf("%s finds %q of %s, want %q", query, got, rec.Header().Get("X-Total-Count"), want)
		}
	}
	w.Server.reports.rows = 2
	w.golden("dcvapi-report-too-many", "ada", "POST", "/api/report/v1/domains", "")
}

// TestDCVByRecord: start gives the same again, submit looks, status says all of it, and the end is a proof.
func TestDCVByRecord(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	w.golden("dcvapi-start-cname", "ada", "POST", dcvPath+"/start/domain/cname", itself)
	first := w.record("example.com").Validation
	again := object(t, w.call("ada", "POST", dcvPath2+"/start/domain/cname", `{"domain":"*.example.com"}`, 200).Body.Bytes())
	if again["host"] != first.Publication.Place+".example.com." || again["point"] != first.Publication.Value+"." {
		t.Errorf("started again: %v", again)
	}
	w.golden("dcvapi-status-awaiting", "ada", "POST", dcvPath2+"/status", itself)
	w.golden("dcvapi-sync-awaiting", "ada", "POST", dcvPath+"/sync?force=true", itself)
	w.golden("dcvapi-submit-cname-not-there", "ada", "POST", dcvPath+"/submit/domain/cname", itself)
	w.golden("dcvapi-status-submitted", "aud", "POST", dcvPath2+"/status", itself)
	w.golden("dcvapi-status-v1", "aud", "POST", dcvPath+"/status", itself)
	w.network.publish(first)
	w.golden("dcvapi-sync", "ada", "POST", dcvPath+"/sync", itself) // without force it does not look
	w.golden("dcvapi-sync-force", "ada", "POST", dcvPath2+"/sync?force=true", itself)
	w.golden("dcvapi-status-validated", "ada", "POST", dcvPath2+"/status?dateFormat=EU", itself)
	w.golden("dcvapi-submit-cname-again", "ada", "POST", dcvPath+"/submit/domain/cname", itself)

	const other = `{"domains":["a.example.com"]}`
	w.golden("dcvapi-start-txt", "ada", "POST", dcvPath+"/start/domain/txt", other)
	w.golden("dcvapi-submit-txt", "ada", "POST", dcvPath+"/submit/domain/txt", other)
	v := w.record("a.example.com").Validation
	w.network.publish(v)
	w.golden("dcvapi-status-txt", "ada", "POST", dcvPath2+"/status", `{"domain":"a.example.com"}`)
	w.golden("dcvapi-submit-txt-again", "ada", "POST", dcvPath2+"/submit/domain/txt", other)
}

// TestDCVByFile: both lines, in one file, are exactly what the validator wants.
func TestDCVByFile(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	for _, word := range []string{"http", "https"} {
		body := map[string]string{"http": itself, "https": `{"domain":"a.example.com"}`}[word]
		rec := w.golden("dcvapi-start-"+word, "ada", "POST", dcvPath+"/start/domain/"+word, body)
		o := object(t, rec.Body.Bytes())
		v := w.record(object(t, []byte(body))["domain"].(string)).Validation
		if want := o["firstLine"].(string) + "\n" + o["secondLine"].(string); v.Publication.Value != want || !strings.HasSuffix(o["url"].(string), "/"+v.Publication.Place) {
			t.Errorf("%s: %v, and the validator wants %+v", word, o, v.Publication)
		}
		w.network.publish(v)
		w.golden("dcvapi-submit-"+word, "ada", "POST", dcvPath+"/submit/domain/"+word, body)
	}
	// What a command began has one line, which is what is wanted.
	d, err := w.Domains.Validate(t.Context(), operator, "shop.example.com", dcv.HTTPFile)
	must(t, err)
	rec := w.golden("dcvapi-start-http-one-line", "ada", "POST", dcvPath+"/start/domain/http", `{"domain":"shop.example.com"}`)
	if o := object(t, rec.Body.Bytes()); o["firstLine"] != d.Validation.Publication.Value {
		t.Errorf("%v, %+v", o, d.Validation)
	}
	w.golden("dcvapi-status-http", "ada", "POST", dcvPath2+"/status", `{"domain":"shop.example.com"}`)
}

func TestDCVByEmail(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	w.network.set(func(n *network) {
		n.contacts = []dcv.EmailContact{
			{Address: "certs@example.org", Method: dcv.EmailTXT, Source: "published"}, {Address: "hostmaster@example.org", Method: dcv.EmailCAA, Source: "published"},
		}
	})
	const start, send = dcvPath + "/start/domain/email", dcvPath + "/submit/domain/email"
	const one, two = `{"domain":"a.example.com","email":"admin@example.com"}`, `{"domains":["example.com","*.a.example.com"],"email":"certs@example.org"}`
	w.goldens([]exchange{
		{"dcvapi-start-email", "ada", "POST", start, itself},
		{"dcvapi-start-emails", "ada", "POST", start, `{"domains":["example.com","a.example.com"]}`},
		{"dcvapi-submit-email", "ada", "POST", send, one},
		{"dcvapi-status-email", "ada", "POST", dcvPath2 + "/status", `{"domain":"a.example.com"}`},
	})
	begun := w.record("a.example.com").Email
	w.wait(time.Minute)
	w.call("ada", "POST", send, one, 200) // is sent again
	if v := w.record("a.example.com").Email; !v.Begun.Equal(begun.Begun) || v.Links[0].Sends != 2 || v.Links[0].ID != begun.Links[0].ID {
		t.Errorf("%+v", v)
	}
	w.goldens([]exchange{
		{"dcvapi-submit-email-not-of-domain", "ada", "POST", send, `{"domain":"a.example.com","email":"eve@example.net"}`},
		{"dcvapi-submit-email-no-address", "ada", "POST", send, `{"domain":"a.example.com","email":"eve"}`},
		{"dcvapi-submit-email-missing", "ada", "POST", send, `{"domain":"a.example.com"}`},
		{"dcvapi-submit-email-no-domain", "ada", "POST", send, `{"email":"admin@example.com"}`},
		{"dcvapi-submit-bulk-not-of-all", "ada", "POST", dcvPath + "/submit-bulk/domain/email", with(t, two, "email", `"admin@a.example.com"`)},
		{"dcvapi-submit-bulk-foreign", "ada", "POST", dcvPath + "/submit-bulk/domain/email", with(t, two, "domains", `["example.com","foreign.example.net"]`)},
		{"dcvapi-submit-bulk-too-many", "ada", "POST", dcvPath + "/submit-bulk/domain/email", with(t, two, "domains", `["a.b",`+strings.Repeat(`"example.com",`, 9)+`"a.c"]`)},
		{"dcvapi-submit-bulk-one", "ada", "POST", dcvPath + "/submit-bulk/domain/email", `{"domain":"example.com","email":"certs@example.org"}`},
	})
	if w.record("example.com").Email != nil {
		t.Error("mail was sent for what was refused")
	}
	w.golden("dcvapi-submit-bulk", "ada", "POST", dcvPath2+"/submit-bulk/domain/email", two)
	for _, name := range []string{"example.com", "a.example.com"} {
		if v := w.record(name).Email; v.Links[0].Address != "certs@example.org" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	w.answer("example.com", "certs@example.org", true)
	w.answer("a.example.com", "certs@example.org", false)
	w.golden("dcvapi-status-rejected", "ada", "POST", dcvPath2+"/status", itself)
	w.golden("dcvapi-status-email-validated", "ada", "POST", dcvPath2+"/status", `{"domain":"a.example.com"}`)
	w.network.set(func(n *network) { n.pause = time.Minute })
	w.golden("dcvapi-submit-email-too-many", "ada", "POST", send, one)
	w.network.set(func(n *network) {
		n.pause, n.failure = 0, problem.New(problem.Unavailable, "no slot became free in time").After(time.Second)
	})
	w.golden("dcvapi-start-email-unavailable", "ada", "POST", start, itself)
}

func TestDCVEnds(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	const shop = `{"domain":"shop.example.com"}`
	w.call("ada", "POST", dcvPath+"/start/domain/cname", shop, 200)
	w.golden("dcvapi-clear", "ada", "POST", dcvPath+"/clear", shop)
	if d := w.record("shop.example.com"); d.Proof == nil || d.Validation != nil {
		t.Errorf("%+v", d)
	}
	w.golden("dcvapi-submit-after-clear", "ada", "POST", dcvPath+"/submit/domain/http", shop)
	w.golden("dcvapi-delete", "ada", "POST", dcvPath+"/delete", shop)
	if d := w.record("shop.example.com"); d.Proof != nil {
		t.Errorf("%+v", d)
	}
	w.golden("dcvapi-status-deleted", "ada", "POST", dcvPath2+"/status", shop)
	w.golden("dcvapi-status-expired", "ada", "POST", dcvPath2+"/status", `{"domain":"old.example.com"}`)
	w.network.set(func(n *network) { n.failure = problem.New(problem.Connection, "the server does not answer") })
	w.call("ada", "POST", dcvPath+"/start/domain/http", itself, 200)
	w.golden("dcvapi-submit-http-unreachable", "ada", "POST", dcvPath+"/submit/domain/http", itself)
}

// TestDCVRefused: what may not be done changes nothing, and another customer's domain is as one that there is not.
func TestDCVRefused(t *testing.T) {
	t.Parallel()
	w := dcvWorld(t)
	const begin = dcvPath + "/start/domain/cname"
	w.goldens([]exchange{
		{"dcvapi-no-right", "aud", "POST", begin, itself},
		{"dcvapi-no-right-delete", "rex", "POST", dcvPath + "/delete", `{"domain":"shop.example.com"}`},
		{"dcvapi-foreign", "ada", "POST", begin, `{"domain":"foreign.example.net"}`},
		{"dcvapi-absent", "ada", "POST", begin, `{"domain":"absent.example.net"}`},
		{"dcvapi-missing", "ada", "POST", begin, `{}`},
		{"dcvapi-no-text", "ada", "POST", begin, `{"domain":7}`},
		{"dcvapi-too-long", "ada", "POST", begin, `{"domain":` + long(256) + `}`},
		{"dcvapi-no-name", "ada", "POST", begin, `{"domain":"a..b"}`},
		{"dcvapi-public-suffix", "ada", "POST", begin, `{"domain":"*.com"}`},
		{"dcvapi-both", "ada", "POST", begin, `{"domain":"example.com","domains":["example.com"]}`},
		{"dcvapi-two", "ada", "POST", begin, `{"domains":["example.com","a.example.com"]}`},
		{"dcvapi-unreadable", "ada", "POST", begin, `{"domain"`},
		{"dcvapi-agent", "ada", "POST", dcvPath + "/submit/domain/cname", `{"domain":"example.com","dnsAgentUUID":"2193ecee586641558856b9214d665954","dnsProviderName":"dns"}`},
		{"dcvapi-not-begun", "ada", "POST", dcvPath + "/submit/domain/cname", itself},
		{"dcvapi-force", "ada", "POST", dcvPath + "/sync?force=perhaps", itself},
		{"dcvapi-method", "ada", "GET", dcvPath + "/status", ""},
	})
	for path, body := range map[string]string{
		"/status": "", "/sync": "", "/sync?force=true": "", "/clear": "", "/delete": "", "/start/domain/http": "", "/start/domain/https": "", "/start/domain/cname": "",
		"/start/domain/txt": "", "/start/domain/email": "", "/submit/domain/http": "", "/submit/domain/https": "", "/submit/domain/cname": "", "/submit/domain/txt": "",
		"/submit/domain/email": `"email":"admin@foreign.example.net",`, "/submit-bulk/domain/email": `"email":"admin@foreign.example.net",`,
	} {
		for _, base := range []string{dcvPath, dcvPath2} {
			var said [2]string
			for i, name := range []string{"foreign.example.net", "inexist.example.net"} {
				member := `"domain":"` + name + `"`
				if strings.Contains(path, "bulk") {
					member = `"domains":["` + name + `"]`
				}
				rec := w.call("ada", http.MethodPost, base+path, "{"+body+member+"}", 400)
				said[i] = strings.ReplaceAll(rec.Body.String(), name, "X")
			}
			if said[0] != said[1] || !strings.Contains(said[0], `"code":-727`) {
				t.Errorf("%s%s: %s of another's, %s of none", base, path, said[0], said[1])
			}
		}
	}
	for _, name := range []string{"example.com", "foreign.example.net", "shop.example.com"} {
		if d := w.record(name); d.Validation != nil || d.Email != nil || (d.Proof == nil) != (name == "example.com") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	// Whom a domain is delegated to sees its proof, and not what the owner does about it.
	w.person("bea", "branch", auth.Roles()...)
	must(t, second(w.Domains.Validate(t.Context(), operator, "big.example.com", dcv.DNSTXT)))
	r := w.as("bea", "POST", dcvPath2+"/status", `{"domain":"big.example.com"}`)
	w.goldenRequest("dcvapi-status-delegated", r, `{"domain":"big.example.com"}`)
	w.golden("dcvapi-clear-delegated", "bea", "POST", dcvPath+"/clear", `{"domain":"big.example.com"}`)
}

func second(_ any, err error) error { return err }
