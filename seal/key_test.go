package seal_test

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/seal"
)

// TestLoadKey reads one key however it is written, and tells of what is none without a word of its content.
func TestLoadKey(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(251 + i*7)
	}
	want := must(seal.NewKey(raw))(t).ID()
	write := func(t *testing.T, text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString(raw), "base64url": base64.URLEncoding.EncodeToString(raw),
		"base64url without padding": base64.RawURLEncoding.EncodeToString(raw), "hex": hex.EncodeToString(raw),
		"HEX": strings.ToUpper(hex.EncodeToString(raw)), "with blanks": "\n " + hex.EncodeToString(raw) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if k := must(seal.LoadKey(write(t, text, 0o600)))(t); k.ID() != want {
				t.Errorf("another key: %s", k)
			}
			t.Setenv("GATEHOUSE_TEST_SEAL_KEY", text)
			if k := must(seal.LoadKey("env:GATEHOUSE_TEST_SEAL_KEY"))(t); k.ID() != want {
				t.Errorf("another key: %s", k)
			}
		})
	}
	good := base64.StdEncoding.EncodeToString(raw)
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		says string
	}{
		"open to the group": {good, 0o640, "chmod 600"},
		"open to all":       {good, 0o604, "chmod 600"},
		"empty":             {"", 0o600, "openssl rand"},
		"31 octets":         {base64.StdEncoding.EncodeToString(raw[:31]), 0o600, "openssl rand"},
		"33 octets":         {base64.StdEncoding.EncodeToString(append(raw, 9)), 0o600, "openssl rand"},
		"raw octets":        {string(raw), 0o600, "openssl rand"},
		"two lines":         {good + "\n" + good, 0o600, "openssl rand"},
		"a passphrase":      {"correct horse battery staple 1234", 0o600, "openssl rand"},
		"zeros":             {strings.Repeat("0", 64), 0o600, "repeated"},
		"far too long":      {strings.Repeat(good, 100), 0o600, "more than a key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, tt.text, tt.mode)
			_, err := seal.LoadKey(path)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v, want it to say %q and the file", err, tt.says)
			}
			for _, word := range []string{good[:8], "horse", hex.EncodeToString(raw[:4])} {
				if strings.Contains(err.Error(), word) {
					t.Errorf("it tells of the content: %v", err)
				}
			}
		})
	}
	if _, err := seal.LoadKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := seal.LoadKey(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	for _, ref := range []string{"env:", "env:GATEHOUSE_TEST_NOT_SET"} {
		if _, err := seal.LoadKey(ref); err == nil || !strings.Contains(err.Error(), "empty or not set") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestKeysAreCopied: the caller may wipe what it made a key of.
func TestKeysAreCopied(t *testing.T) {
	raw := []byte("0123456789abcdef0123456789abcdef")
	s := must(seal.New(must(seal.NewKey(raw))(t)))(t)
	sealed := must(s.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	clear(raw)
	if got := must(s.Open(t.Context(), purpose, "kid", sealed))(t); string(got) != "secret" {
		t.Errorf("it is %q", got)
	}
}
