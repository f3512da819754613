package scm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// stock is a world with certificates of all kinds, those of ada's that she can list.
func stock(t *testing.T) (*world, []*ra.Enrollment) {
	t.Helper()
	w := newWorld(t)
	w.Principal = func(_ context.Context, _ auth.Caller, login string) (string, error) {
		return w.callers[strings.ToLower(login)].Principal, nil
	}
	issued := w.issue("ada", "tls", "a.example.com", "b.example.com")
	waiting := w.issue("rex", "approved", "d.example.com")
	revoked := w.issue("rex", "tls", "r.example.com")
	must(t, w.Registrar.Revoke(t.Context(), w.callers["ada"], ra.Revocation{Issuer: revoked.Issuer, Serial: revoked.Serial, Reason: 4}))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	result, err := w.Registrar.Import(t.Context(), w.callers["ada"], ra.DoorSCM, []ra.ImportItem{
		{Certificate: foreign(t, key, 0x4711, "Old Server 1", "old.example.com"), ExternalRequesters: []string{"ann@example.com", "bob@example.com"}},
		{Certificate: foreign(t, key, 0x4712, "*.example.com", "*.example.com", "example.com")},
	})
	must(t, err)
	must(t, errors.Join(result[0].Err, result[1].Err))
	suspend := true
	_, err = w.Registrar.Update(t.Context(), w.callers["ada"], issued.ID, ra.Changes{SuspendNotifications: &suspend})
	must(t, err)
	return w, []*ra.Enrollment{issued, waiting, revoked, result[0].Enrollment, result[1].Enrollment}
}

// foreign is a certificate by an issuer that nobody here knows, whose CN is none of its names.
func foreign(t *testing.T, key *rsa.PrivateKey, serial int64, cn string, names ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, DNSNames: names, NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 17}},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Issuing 7", Organization: []string{"Old, Inc."}}}, &key.PublicKey, key)
	must(t, err)
	return der
}

// found are the numbers that a list has for ada.
func (w *world) found(query url.Values) map[float64]bool {
	w.t.Helper()
	rec := w.call("ada", "GET", "/api/ssl/v2?"+query.Encode(), "", 200)
	var items []map[string]any
	must(w.t, json.Unmarshal(rec.Body.Bytes(), &items))
	found := map[float64]bool{}
	for _, item := range items {
		found[item["sslId"].(float64)] = true
	}
	if total := rec.Header().Get("X-Total-Count"); total != fmt.Sprint(len(items)) {
		w.t.Errorf("%v: %d items, and the total is %s", query, len(items), total)
	}
	head := w.call("ada", "HEAD", "/api/ssl/v1?"+query.Encode(), "", 200)
	if head.Header().Get("X-Total-Count") != rec.Header().Get("X-Total-Count") {
		w.t.Errorf("%v: HEAD counts %s", query, head.Header().Get("X-Total-Count"))
	}
	return found
}

// TestWhatDetailsShowsIsFound: each value that details shows of a certificate, as a filter, finds that certificate and exactly
// those others that show it too, in whatever letter case it is asked for.
func TestWhatDetailsShowsIsFound(t *testing.T) {
	t.Parallel()
	w, list := stock(t)
	texts := func(v any) (out []string) {
		switch v := v.(type) {
		case nil:
		case []any:
			for _, element := range v {
				out = append(out, fmt.Sprint(element))
			}
		default:
			out = append(out, fmt.Sprint(v))
		}
		return out
	}
	shown := map[string]func(d map[string]any) []string{
		"keyParam": func(d map[string]any) []string {
			_, parameter, _ := strings.Cut(fmt.Sprint(d["keyType"]), " - ")
			if d["keyType"] == nil {
				return nil
			}
			return []string{parameter, fmt.Sprint(d["keyType"])}
		},
		"sslTypeId": func(d map[string]any) []string {
			certType, _ := d["certType"].(map[string]any)
			return texts(certType["id"])
		},
		"installStatus": func(d map[string]any) []string { return texts(d["autoInstallDetails"].(map[string]any)["state"]) },
		"renewalStatus": func(d map[string]any) []string { return texts(d["autoRenewDetails"].(map[string]any)["state"]) },
		"externalRequester": func(d map[string]any) []string {
			whole := texts(d["externalRequester"])
			if len(whole) == 0 {
				return nil
			}
			return append(whole, strings.Split(whole[0], ", ")...)
		},
	}
	for filter, member := range map[string]string{
		"commonName": "commonName", "subjectAlternativeName": "subjectAlternativeNames", "status": "status", "orgId": "orgId", "vendor": "vendor",
		"serialNumber": "serialNumber", "requester": "requester", "signatureAlgorithm": "signatureAlg", "keyAlgorithm": "keyAlgorithm", "keySize": "keySize",
		"keyUsage": "keyUsages", "extendedKeyUsage": "extendedKeyUsages", "requestedVia": "requestedVia",
	} {
		shown[filter] = func(d map[string]any) []string { return texts(d[member]) }
	}
	for filter, member := range map[string]string{"issuer": "issuer", "md5Hash": "md5Hash", "sha1Hash": "sha1Hash", "sha256Hash": "sha256Hash"} {
		shown[filter] = func(d map[string]any) []string {
			certificate, _ := d["certificateDetails"].(map[string]any)
			return texts(certificate[member])
		}
	}
	all := map[float64]map[string]any{}
	for _, e := range list {
		d := object(t, w.call("ada", "GET", fmt.Sprintf("/api/ssl/v2/%d", e.ID), "", 200).Body.Bytes())
		all[d["sslId"].(float64)] = d
	}
	tried := map[string]int{}
	for filter, of := range shown {
		for _, d := range all {
			for _, value := range of(d) {
				want := map[float64]bool{}
				for id, other := range all {
					want[id] = false
					for _, v := range of(other) {
						want[id] = want[id] || strings.EqualFold(v, value)
					}
				}
				tried[filter]++
				for _, text := range []string{value, strings.ToUpper(value), strings.ToLower(value)} {
					found := w.found(url.Values{filter: {text}})
					for id, is := range want {
						if found[id] != is {
							t.Errorf("%s=%s: certificate %v is found: %t", filter, text, id, found[id])
						}
					}
				}
			}
		}
	}
	for _, f := range filters() {
		if tried[f.name] == 0 && f.name != "discoveryStatus" {
			t.Errorf("%s: no certificate shows what it filters by", f.name)
		}
	}
}

// TestFiltersTogether: all must hold, also those of names, numbers and certificates at once, and a list must have each element that
// is asked for.
func TestFiltersTogether(t *testing.T) {
	t.Parallel()
	w, list := stock(t)
	issued, waiting, revoked, imported, wildcard := list[0], list[1], list[2], list[3], list[4]
	for query, want := range map[string][]*ra.Enrollment{
		"commonName=a.example.com&subjectAlternativeName=b.example.com":                      {issued},
		"commonName=b.example.com":                                                           nil, // it is a name of the certificate's, and not its CN
		"commonName=*.Example.com":                                                           {wildcard},
		"commonName=example.com":                                                             nil,
		"commonName=old+server+1":                                                            {imported},
		"commonName=old.example.com":                                                         nil,
		"keyAlgorithm=RSA&status=Issued&vendor=old,+inc.":                                    {imported, wildcard},
		"keyAlgorithm=EC&status=Revoked&keyParam=P-256":                                      {revoked},
		"keyAlgorithm=EC&status=Requested":                                                   nil,
		"status=Requested&requestedVia=API":                                                  {waiting},
		"keyUsage=Digital+Signature,Key+Encipherment":                                        {imported, wildcard},
		"keyUsage=Digital+Signature,CRL+Sign":                                                nil,
		"extendedKeyUsage=1.3.6.1.5.5.7.3.2,server+authentication":                           {imported, wildcard},
		"externalRequester=bob@example.com":                                                  {imported},
		"externalRequester=bob@example.com,eve@example.com":                                  nil,
		"serialNumber=47:11&keySize=2048&issuer=issuing+7":                                   {imported},
		"serialNumber=47:11&keySize=1024":                                                    nil,
		"serialNumber=4711&status=unmanaged":                                                 nil,
		"installStatus=NONE&discoveryStatus=notdeployed&renewalStatus=NOT_SCHEDULED&orgId=1": {issued, waiting, revoked, imported, wildcard},
		"installStatus=Completed":                                                            nil,
		"discoveryStatus=Deployed":                                                           nil,
		"renewalStatus=FAILED":                                                               nil,
		"requestedVia=REST":                                                                  nil,
		"requester=REX&keyAlgorithm=ec":                                                      {revoked},
		"requester=nobody":                                                                   nil,
		"requester=olga":                                                                     nil,
		"expiresAfter=2026-01-01&numberServers=4&requester=rex&sslTypeId=8&unknown=1&unknown=2": {waiting},
	} {
		values, err := url.ParseQuery(query)
		must(t, err)
		found := w.found(values)
		if len(found) != len(want) {
			t.Errorf("%s finds %v, want %d", query, found, len(want))
		}
		for _, e := range want {
			if !found[float64(e.ID)] {
				t.Errorf("%s does not find %d", query, e.ID)
			}
		}
	}
}

// TestRenewalStatusIsFound once a certificate renews itself.
func TestRenewalStatusIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.call("ada", "POST", "/api/ssl/v2/enroll-keygen", `{"orgId":1,"certType":7,"commonName":"k.example.com","subjAltNames":"k.example.com","algorithm":"EC","keyParam":"P-256"}`, 200)
	w.issue("ada", "tls", "a.example.com")
	id := object(t, key.Body.Bytes())["sslId"].(float64)
	w.call("ada", "PUT", "/api/ssl/v2", fmt.Sprintf(`{"sslId":%v,"autoRenewDetails":{"state":"Scheduled","daysBeforeExpiration":9}}`, id), 200)
	if found := w.found(url.Values{"renewalStatus": {"scheduled"}}); len(found) != 1 || !found[id] {
		t.Errorf("what renews itself is %v", found)
	}
	if found := w.found(url.Values{"renewalStatus": {"NOT_SCHEDULED"}}); len(found) != 1 || found[id] {
		t.Errorf("what does not is %v", found)
	}
}

// TestFiltersRefuse names the parameter of what cannot be a value of it.
func TestFiltersRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var list []exchange
	for _, x := range [][2]string{
		{"commonname-long", "commonName=" + strings.Repeat("a", 254)}, {"install-unknown", "installStatus=fine"}, {"renewal-unknown", "renewalStatus=soon"},
		{"via-unknown", "requestedVia=pigeon"}, {"discovery-unknown", "discoveryStatus=lost"}, {"keysize-word", "keySize=large"}, {"keysize-zero", "keySize=0"},
		{"sha1-short", "sha1Hash=abcd"}, {"md5-long", "md5Hash=" + strings.Repeat("a", 33)}, {"sha256-text", "sha256Hash=" + strings.Repeat("x", 64)},
		{"requester-long", "requester=" + strings.Repeat("r", 129)}, {"vendor-twice", "vendor=a&vendor=b"},
	} {
		list = append(list, exchange{"list-filter-" + x[0], "ada", "GET", "/api/ssl/v2?" + x[1], ""})
	}
	w.goldens(list)
}

// TestTooWide: what cannot be answered says which filters it is about, and which would help and are not there yet.
func TestTooWide(t *testing.T) {
	t.Parallel()
	query, err := url.ParseQuery("keyAlgorithm=RSA&status=Issued&orgId=")
	must(t, err)
	c := &call{query: query}
	refusal := tooWide(c, problem.Wrap(&ra.TooManyError{Candidates: 10_001}, problem.Malformed, "too many"))
	status, code := wire(refusal)
	text := problem.From(refusal).Detail
	if status != 400 || code != codeValue || !strings.HasPrefix(text, "status, keyAlgorithm: ") || !strings.HasSuffix(text, "such as orgId, commonName, subjectAlternativeName, serialNumber, sslTypeId, requester") {
		t.Errorf("%d and %d: %s", status, code, text)
	}
	refusal = tooWide(c, problem.Wrap(ra.ErrTooManyOrgs, problem.Malformed, "too many"))
	if _, code := wire(refusal); code != codeValue || !strings.HasPrefix(problem.From(refusal).Detail, "orgId: ") {
		t.Errorf("%d: %v", code, refusal)
	}
	other := problem.New(problem.Unavailable, "later")
	if got := tooWide(c, other); got != other {
		t.Errorf("another error is %v", got)
	}
	if err := tooWide(c, nil); err != nil {
		t.Errorf("no error is %v", err)
	}
}

// FuzzListFilters: whatever a query is, it is read, or refused with a parameter's name, and nothing else happens.
func FuzzListFilters(f *testing.F) {
	for _, seed := range []string{
		"commonName=a.example.com&status=issued", "sha1Hash=00&orgId=1", "keyUsage=,,&extendedKeyUsage=%00", "keySize=99999999999999999999", "requester=user:1&requestedVia=SCEP",
		"serialNumber=::::&installStatus=NONE", "sslTypeId=7&orgId=4711",
	} {
		f.Add(seed)
	}
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}})
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{Config: Config{
		Registrar: ra.New(ra.Config{May: directory.May}), Organisations: directory,
		Principal: func(context.Context, auth.Caller, string) (string, error) { return "", nil },
	}}
	caller := auth.Caller{Principal: "user:7", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		c := &call{s: s, ctx: t.Context(), caller: caller, query: query}
		q, never, err := s.query(c)
		if err != nil {
			if status, code := wire(err); status != 400 || code != codeValue && code != codeOrganisation {
				t.Errorf("%q is refused with %d and %d: %v", raw, status, code, err)
			}
			return
		}
		if !never && len(q.Where) > len(filters()) {
			t.Errorf("%q makes %d conditions", raw, len(q.Where))
		}
		for _, condition := range q.Where {
			condition.Holds(&ra.Enrollment{}, nil)
		}
	})
}
