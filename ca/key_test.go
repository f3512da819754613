package ca

import (
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestOpenKeyFile(t *testing.T) {
	k := newKey(t, "p256")
	text, err := testca.KeyPEM(k)
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, text, 0o600)
	spaced := filepath.Join(t.TempDir(), "a key.pem")
	if err := os.WriteFile(spaced, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(path))
	for _, uri := range []string{
		path, filepath.Base(path), "./" + filepath.Base(path), "file:" + path, "file://" + path, "file://localhost" + path,
		"FILE:" + path, "file:" + filepath.Base(path), "file:" + strings.ReplaceAll(spaced, " ", "%20"), spaced,
	} {
		signer, closer, err := OpenKey(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Errorf("%s: another key", uri)
		}
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenKeyRefuses(t *testing.T) {
	open := writeFile(t, []byte("1234\n"), 0o644)
	empty := writeFile(t, []byte("\n"), 0o600)
	t.Setenv("GATEHOUSE_TEST_EMPTY", "")
	const token = "pkcs11:token=gatehouse;object=issuer"
	for _, tt := range []struct{ name, uri, says string }{
		{"no file", filepath.Join(t.TempDir(), "absent.key"), "no such file"},
		{"RFC 8089 2: another host", "file://ca.example.com/issuer.key", "on this machine"},
		{"RFC 8089 2: a query", "file:/issuer.key?x", "on this machine"},
		{"no path", "file:", "path is missing"},
		{"bad escape", "file:issuer%zz.key", "invalid URL escape"},
		{"another scheme", "awskms:key-id=1", "pkcs11:"},
		{"PIN in the query", token + "?pin-value=4711", "pin-source"},
		{"PIN in the path", token + ";pin-value=4711", "pin-source"},
		{"PIN in a value", "pkcs11:object=issuer;token=x&pin-value=4711", "pin-source"},
		{"RFC 7512 2.3: twice", token + ";object=other", "object twice"},
		{"RFC 7512 2.4: twice", token + "?pin-source=a&pin-source=b", "pin-source twice"},
		{"path and query", token + ";module-path=/a?module-path=/b", "module-path twice"},
		{"RFC 7512 2.3: a condition nobody checks", token + ";manufacturer=Example", "leave it out"},
		{"RFC 7512 2.4: module-name", token + "?module-name=softhsm2", "leave it out"},
		{"object in the query", "pkcs11:token=a?object=b", "leave it out"},
		{"no token", "pkcs11:object=issuer", "token=LABEL"},
		{"two tokens", token + ";serial=1", "token and serial"},
		{"no key", "pkcs11:token=a", "object=LABEL"},
		{"public half", token + ";type=public", "private key"},
		{"empty value", "pkcs11:token=;object=a", "empty token"},
		{"no value", "pkcs11:token;object=a", "empty token"},
		{"bad escape in a token", "pkcs11:token=%zz;object=a", "percent-encoded"},
		{"control character", "pkcs11:token=a%00b;object=a", "control character"},
		{"RFC 7512 2.3: id not encoded", "pkcs11:token=a;id=0a10", "two ways"},
		{"nothing", "pkcs11:", "token=LABEL"},
		{"PIN file of another kind", token + "?pin-source=https://example.com/pin", "env:NAME"},
		{"RFC 7512 2.4: PIN from a command", token + "?pin-source=|cat", "commands are not run"},
		{"no PIN file", token + "?pin-source=file:/nonexistent/pin", "no such file"},
		{"PIN file for all to read", token + "?pin-source=" + open, "chmod 600"},
		{"PIN file empty", token + "?pin-source=" + empty, "is empty"},
		{"PIN variable empty", token + "?pin-source=env:GATEHOUSE_TEST_EMPTY", "GATEHOUSE_TEST_EMPTY is empty or not set"},
		{"no module", token + "?module-path=/nonexistent/module.so", "no such file"},
		{"not a module", token + "?module-path=" + open, "cannot be loaded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signer, _, err := OpenKey(tt.uri)
			if signer != nil || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want it to say %q", err, tt.says)
			}
			if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "4711") || strings.Contains(text, "1234") {
				t.Errorf("not one line without secrets: %s", text)
			}
		})
	}
}

// RFC 7512, 2.3, and its examples in section 3, as far as they name one key.
func TestParseKeyURI(t *testing.T) {
	for _, tt := range []struct{ uri, selector, object, id, module, pin string }{
		{"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;type=private;object=my-signing-key?pin-source=file:/etc/token",
			"token=The Software PKCS#11 Softtoken", "my-signing-key", "", "", "file:/etc/token"},
		{"PKCS11:token=a+b;id=%69%95%3E%5C%F4%BD%EC%91", "token=a+b", "", "\x69\x95\x3e\x5c\xf4\xbd\xec\x91", "", ""},
		{"pkcs11:serial=DECC0401648;object=x;id=%01?module-path=/usr/lib/m.so&pin-source=env:PIN", "serial=DECC0401648", "x", "\x01", "/usr/lib/m.so", "env:PIN"},
		{"pkcs11:module-path=/usr/lib/m.so;slot-id=327;object=a%3Bb%26c", "slot-id=327", "a;b&c", "", "/usr/lib/m.so", ""},
	} {
		u, err := parseKeyURI(tt.uri)
		if err != nil {
			t.Errorf("%s: %v", tt.uri, err)
			continue
		}
		if u.selector[0]+"="+u.selector[1] != tt.selector || u.object != tt.object || string(u.id) != tt.id || u.modulePath != tt.module || u.pinSource != tt.pin {
			t.Errorf("%s: read as %+v", tt.uri, u)
		}
	}
}

// The line's end is not part of a PIN; a blank is.
func TestPIN(t *testing.T) {
	path := writeFile(t, []byte("12 34 \r\n"), 0o400)
	t.Setenv("GATEHOUSE_TEST_PIN", "from outside")
	for source, want := range map[string]string{path: "12 34 ", "file:" + path: "12 34 ", "env:GATEHOUSE_TEST_PIN": "from outside", "": ""} {
		if pin, err := (&keyURI{pinSource: source}).pin(); pin != want || err != nil {
			t.Errorf("%q: got %q, %v", source, pin, err)
		}
	}
}

func FuzzParseKeyURI(f *testing.F) {
	f.Add("pkcs11:token=a;object=b;id=%01?module-path=/m.so&pin-source=env:PIN&max-sessions=4")
	f.Add("pkcs11:slot-id=1;object=%26%3b;type=private")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseKeyURI("pkcs11:" + s)
		if err != nil {
			return
		}
		if u.selector[0] == "" || u.object == "" && len(u.id) == 0 || strings.Contains(s, "pin-value") {
			t.Errorf("%q is read as %+v", s, u)
		}
	})
}
