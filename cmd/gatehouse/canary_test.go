package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// traces are the forms in which a secret would be found: as it is, in hex, and in base64 wherever in a longer text it began.
func traces(secret []byte) [][]byte {
	list := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret)))}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			text := encoding.EncodeToString(append(make([]byte, shift), secret...))
			list = append(list, []byte(text[4:len(text)-4])) // the ends depend on what is beside it
		}
	}
	return list
}

// TestSecretsOfCommandsAreNowhere: every secret that a command shows once or is given, and a private key that the gateway made,
// is in no file of the gateway or of Redis, in no log and in no metric. The tests of keys and of mail look for theirs in the
// embedded store.
func TestSecretsOfCommandsAreNowhere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t)
	w.args = []string{"--redis", server.Addr, "--server-keys", "--delegated-domains"}
	i := w.start()
	canaries := map[string][]byte{}
	shown := func(name string, args ...string) string {
		t.Helper()
		var out map[string]any
		must(t, json.Unmarshal([]byte(i.mustCommand(append(args, "--json")...)), &out))
		for _, word := range []string{"clientSecret", "password", "hmacKey", "key"} {
			if text, ok := out[word].(string); ok && text != "" {
				return text
			}
		}
		t.Fatalf("%s shows no secret: %v", name, out)
		return ""
	}
	i.mustCommand("user", "add", "ada", "--org", "dev", "--role", "requester")
	canaries["password"] = []byte(shown("password", "user", "password", "ada", "--generate"))
	key := shown("API key", "key", "add", "ada", "--kind", "api")
	canaries["API key"] = []byte(key[strings.LastIndexByte(key, '_')+1:])
	client := shown("OAuth2 client", "key", "add", "ada", "--kind", "oauth")
	canaries["client secret"] = []byte(client[strings.LastIndexByte(client, '_')+1:])
	mac := shown("MAC key", "eab", "add", "--org", "dev")
	canaries["MAC key as text"] = []byte(mac)
	raw, err := base64.RawURLEncoding.DecodeString(mac)
	must(t, err)
	canaries["MAC key"] = raw

	web := i.answers()
	i.mustCommand("domain", "add", "www.example.com", "--org", "dev")
	v := i.domain("validate", "www.example.com", "--method", "http")
	web.Set(v.Validation.Location[strings.LastIndexByte(v.Validation.Location, '/')+1:], v.Validation.Value)
	i.mustCommand("domain", "check", "www.example.com")
	i.mustCommand("request", "new", "--org", "dev", "--profile", "dev", "--name", "www.example.com", "--key-type", "ecdsa-p256", "--wait")
	made := i.certList()[0]
	der, err := x509.MarshalPKCS8PrivateKey(i.keyInClear(made.ID))
	must(t, err)
	canaries["private key"] = der[36:68] // of P-256: the private number (RFC 5915, 3, inside RFC 5958)
	const password = "canary in a form"
	canaries["password of a download"] = []byte(password)
	if status, file := i.press(i.keyLink(made.ID).Link, password); status != 200 {
		t.Fatalf("status %d: %s", status, file)
	}
	link := i.keyLink(made.ID).Link
	canaries["link"] = []byte(link[strings.LastIndexByte(link, '/')+1:])

	_, _, metrics := get(t, "http://"+w.admin+"/metrics")
	i.stop()
	server.Do("BGREWRITEAOF") // what it holds now, beside what was written on the way
	for where, data := range map[string][]byte{
		"the journal": unpackedJournal(t, w.data), "the store": wholeFolder(t, server.Dir), "the log": []byte(i.log.String()), "the metrics": []byte(metrics),
	} {
		if len(data) == 0 {
			t.Errorf("%s is empty", where)
		}
		for name, secret := range canaries {
			if len(secret) < 16 {
				t.Errorf("the canary %s is short: %d octets", name, len(secret))
			}
			for _, trace := range traces(secret) {
				if bytes.Contains(data, trace) {
					t.Errorf("%s holds the %s, as %.10q…", where, name, trace)
				}
			}
		}
	}
	if !bytes.Contains(wholeFolder(t, server.Dir), []byte("www.example.com")) {
		t.Error("the search finds nothing at all in the store")
	}
}
