package scm

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// keyed is an enrollment of somebody's whose key was made here.
func (w *world) keyed(login, profile, name string) *ra.Enrollment {
	w.t.Helper()
	id, err := parseName(name)
	must(w.t, err)
	e, err := w.Registrar.Submit(w.t.Context(), w.callers[login], ra.Request{Door: ra.DoorSCM, Profile: profile, Names: []identifier.Identifier{id}, Key: policy.ECDSAP256})
	must(w.t, err)
	w.hidesSerial(e)
	return e
}

func TestKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.person("kay", "main", auth.Requester)
	w.keyed("rex", "tls", "a.example.com")                  // 1
	w.issue("rex", "tls", "b.example.com")                  // 2: its key is elsewhere
	w.keyed("rex", "approved", "c.example.com")             // 3 waits
	declined := w.keyed("rex", "approved", "d.example.com") // 4
	_, err := w.Registrar.Decline(t.Context(), w.callers["may"], declined.ID, "no")
	must(t, err)
	destroyed := w.keyed("rex", "tls", "e.example.com") // 5
	_, err = w.Registrar.DestroyKey(t.Context(), w.callers["rex"], destroyed.ID)
	must(t, err)
	const path = "/api/ssl/v2/keystore/"
	w.goldens([]exchange{
		{"keystore-p12", "rex", "POST", path + "1/p12", `{"passphrase":"twelve letters"}`},
		{"keystore-key", "rex", "POST", path + "1/key", `{"passphrase":"twelve letters"}`},
		{"keystore-without-passphrase", "rex", "POST", path + "1/P12AES", `{"passphrase":null,"more":1}`},
		{"keystore-without-body", "rex", "POST", "/api/ssl/v1/keystore/1/jks", ""},
		{"keystore-get", "rex", "GET", "/api/ssl/v1/keystore/1/pem", ""},
		{"keystore-administrator", "ada", "GET", path + "1/p12", ""},
		{"keystore-format", "rex", "POST", path + "1/pkcs12", ""},
		{"keystore-short", "rex", "POST", path + "1/p12", `{"passphrase":"five5"}`},
		{"keystore-long", "rex", "POST", path + "1/p12", `{"passphrase":` + long(33) + `}`},
		{"keystore-type", "rex", "POST", path + "1/p12", `{"passphrase":["twelve letters"]}`},
		{"keystore-control", "rex", "POST", path + "1/p12", `{"passphrase":"twelve\nletters"}`},
		{"keystore-accents", "rex", "POST", path + "1/jks", `{"passphrase":"zwölf Buchstaben"}`},
		{"keystore-unreadable", "rex", "POST", path + "1/p12", `{"passphrase":`},
		{"keystore-approver", "may", "POST", path + "1/p12", ""},
		{"keystore-auditor", "aud", "GET", path + "1/p12", ""},
		{"keystore-colleague", "kay", "POST", path + "1/p12", ""},
		{"keystore-foreign", "olga", "POST", path + "1/p12", ""},
		{"keystore-absent", "rex", "POST", path + "4711/p12", ""},
		{"keystore-no-number", "rex", "POST", path + "x/p12", ""},
		{"keystore-elsewhere", "rex", "POST", path + "2/p12", ""},
		{"keystore-waiting", "rex", "POST", path + "3/p12", ""},
		{"keystore-declined", "rex", "POST", path + "4/p12", ""},
		{"keystore-destroyed", "rex", "POST", path + "5/p12", ""},
		{"keystore-method", "rex", "PUT", path + "1/p12", ""},
	})
	w.Registrar.Escrow.LinksPerHour = 1
	if rec := w.call("rex", "POST", path+"1/p12", "", 400); rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), `"code":-993,`) {
		t.Errorf("too many: %s", rec.Body)
	}
}

// TestKeystoreFiles: each format gives what it is called, under the passphrase, and once.
func TestKeystoreFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wait(time.Since(start)) // the store forgets links by its own clock
	e := w.keyed("rex", "tls", "a.example.com")
	const passphrase = "twelve letters"
	for _, f := range keystoreForms {
		rec := w.call("rex", "POST", "/api/ssl/v2/keystore/1/"+f.name, `{"passphrase":"`+passphrase+`"}`, 200)
		link, _ := object(t, rec.Body.Bytes())["link"].(string)
		secret, ok := strings.CutPrefix(link, "https://ca.example.com/download/")
		if !ok {
			t.Fatalf("the link is %s", rec.Body)
		}
		var offer ra.Offer
		file, err := w.Registrar.TakeDownload(t.Context(), secret, "192.0.2.9", func(k ra.KeyFile) ([]byte, error) {
			offer = k.Offer
			return console.Write(k, w.Chain(e.Issuer), "")
		})
		must(t, err)
		if offer.Format != f.format.String() || offer.Clear || (offer.Content == "") != (f.format == bundle.EncryptedKey) {
			t.Errorf("%s gives %s with %s", f.name, offer.Format, offer.Content)
		}
		if f.format == bundle.EncryptedKey {
			if _, err := bundle.ParseKey(file, []byte(passphrase)); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
			if _, err := bundle.ParseKey(file, []byte("another twelve")); err == nil {
				t.Errorf("%s opens with another passphrase", f.name)
			}
		}
		if _, _, err := w.Registrar.Linked(t.Context(), secret); !problem.Is(err, problem.NotFound) {
			t.Errorf("%s: the link serves again: %v", f.name, err)
		}
	}
}
