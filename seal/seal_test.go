package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

const purpose = seal.EABKey

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t testing.TB) *seal.Key {
	var b [32]byte
	rand.Read(b[:])
	return must(seal.NewKey(b[:]))(t)
}

// TestRoundTrip: what was sealed opens, for the same purpose and object, and never looks the same twice.
func TestRoundTrip(t *testing.T) {
	s := must(seal.New(newKey(t)))(t)
	for _, size := range []int{1, 31, 32, 64, 4096, seal.MaxSecret} {
		secret := make([]byte, size)
		rand.Read(secret)
		one := must(s.Seal(t.Context(), purpose, "kid", secret))(t)
		two := must(s.Seal(t.Context(), purpose, "kid", secret))(t)
		if bytes.Equal(one, two) || bytes.Contains(one, secret[:min(size, 16)]) && size > 4 {
			t.Errorf("%d octets: sealed twice alike, or in the clear", size)
		}
		if back := must(s.Open(t.Context(), purpose, "kid", one))(t); !bytes.Equal(back, secret) {
			t.Errorf("%d octets came back as %d others", size, len(back))
		}
		if err := s.Opens(one); err != nil {
			t.Error(err)
		}
	}
}

// golden is "secret" for the object "kid", sealed by version 1 of the format under the key 00 01 … 1f.
const golden = "010149653b48928ecba5003cab51c172dba23c01973443abb682d655ec171997c060b531028759e430b4771c4b3903e05b1296b984cf6cdd" +
	"3defd82229f50d3e53097d64cd68d6a780b0e017c78f4161eadf3484e07d7c580ea86e83eb564b4e048632efb2c367116335"

// TestGolden: what was sealed once opens for ever, and its parts are where the package comment says.
func TestGolden(t *testing.T) {
	var raw [32]byte
	for i := range raw {
		raw[i] = byte(i)
	}
	sealed := must(hex.DecodeString(golden))(t)
	k := must(seal.NewKey(raw[:]))(t)
	got := must(must(seal.New(k))(t).Open(t.Context(), purpose, "kid", sealed))(t)
	if string(got) != "secret" {
		t.Errorf("it is %q", got)
	}
	if sealed[0] != 1 || sealed[1] != 1 || hex.EncodeToString(sealed[2:10]) != k.ID().String() || sealed[10] != 0 || sealed[11] != 60 || len(sealed) != 12+60+12+6+16 {
		t.Errorf("the parts are elsewhere: %x", sealed)
	}
}

// TestBoundTo: a value opens for its own purpose and object alone.
func TestBoundTo(t *testing.T) {
	s := must(seal.New(newKey(t)))(t)
	sealed := must(s.Seal(t.Context(), "ab", "cd", []byte("secret")))(t)
	for _, other := range [][2]string{{"ab", "ce"}, {"ac", "cd"}, {"abc", "d"}, {"a", "bcd"}, {"ab", ""}, {"", "cd"}, {"ab", "cd\x00"}} {
		if got, err := s.Open(t.Context(), seal.Purpose(other[0]), other[1], sealed); err == nil || got != nil {
			t.Errorf("opened for %q", other)
		}
	}
}

// TestAltered: of a value none of whose bits, and no octet at its end, may change.
func TestAltered(t *testing.T) {
	s := must(seal.New(newKey(t), newKey(t)))(t)
	sealed := must(s.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := s.Open(t.Context(), purpose, "kid", bad); err == nil || got != nil {
			t.Fatalf("opened with bit %d of octet %d changed", i%8, i/8)
		}
		if _, _, err := s.Rewrap(t.Context(), purpose, "kid", bad); err == nil {
			t.Fatalf("wrapped anew with bit %d of octet %d changed", i%8, i/8)
		}
	}
	for n := range sealed {
		if _, err := s.Open(t.Context(), purpose, "kid", sealed[:n]); err == nil {
			t.Fatalf("opened when cut to %d of %d octets", n, len(sealed))
		}
	}
	if _, err := s.Open(t.Context(), purpose, "kid", append(bytes.Clone(sealed), 0)); err == nil {
		t.Error("opened with an octet more")
	}
}

func TestUnknownForms(t *testing.T) {
	s := must(seal.New(newKey(t)))(t)
	sealed := must(s.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	for _, tt := range []struct {
		at    int
		value byte
		says  string
	}{
		{0, 0, "form (0)"}, {0, 2, "form (2)"}, {0, 255, "form (255)"}, {1, 0, "way (0)"}, {1, 4, "way (4)"}, {1, 255, "way (255)"},
		{1, 2, "does not open"}, {1, 3, "does not open"}, // the key is none of a token
	} {
		bad := bytes.Clone(sealed)
		bad[tt.at] = tt.value
		_, err := s.Open(t.Context(), purpose, "kid", bad)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("octet %d is %d: %v, want it to say %q", tt.at, tt.value, err, tt.says)
		}
	}
}

// TestKeys: the first seals, all open; a key that is not there is named; Rewrap moves a secret under the first.
func TestKeys(t *testing.T) {
	old, next := newKey(t), newKey(t)
	before, both, after := must(seal.New(old))(t), must(seal.New(next, old))(t), must(seal.New(next))(t)
	sealed := must(before.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	if id := must(seal.KeyOf(sealed))(t); id != old.ID() {
		t.Errorf("it is under %s", id)
	}
	for name, err := range map[string]error{"Opens": after.Opens(sealed), "Open": second(after.Open(t.Context(), purpose, "kid", sealed))} {
		unknown, ok := errors.AsType[*seal.UnknownKeyError](err)
		if !ok || unknown.ID != old.ID() || !strings.Contains(err.Error(), old.ID().String()) {
			t.Errorf("%s without the key: %v", name, err)
		}
	}
	if _, changed, err := before.Rewrap(t.Context(), purpose, "kid", sealed); changed || err != nil {
		t.Errorf("under the first key already: %t, %v", changed, err)
	}
	if _, changed, err := both.Rewrap(t.Context(), purpose, "other", sealed); changed || err == nil {
		t.Errorf("another object's: %t, %v", changed, err)
	}
	moved, changed, err := both.Rewrap(t.Context(), purpose, "kid", sealed)
	if err != nil || !changed {
		t.Fatalf("%t, %v", changed, err)
	}
	if got := must(after.Open(t.Context(), purpose, "kid", moved))(t); string(got) != "secret" {
		t.Errorf("it is %q", got)
	}
	if _, err := before.Open(t.Context(), purpose, "kid", moved); err == nil {
		t.Error("the old key still opens it")
	}
	if ids := both.Keys(); len(ids) != 2 || ids[0] != next.ID() || ids[1] != old.ID() {
		t.Errorf("the keys are %v", ids)
	}
}

func second[T any](_ T, err error) error { return err }

// TestImpostor: a key that has another's id, and is another, opens nothing.
func TestImpostor(t *testing.T) {
	a, b := must(seal.New(newKey(t)))(t), must(seal.New(newKey(t)))(t)
	sealed := must(a.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	id := b.Keys()[0]
	copy(sealed[2:], id[:])
	if got, err := b.Open(t.Context(), purpose, "kid", sealed); err == nil || got != nil {
		t.Error("another key opened it")
	}
}

// TestNoKeys: a nil Sealer says which word is missing and how to make a key.
func TestNoKeys(t *testing.T) {
	var s *seal.Sealer
	sealed := must(must(seal.New(newKey(t)))(t).Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
	_, _, rewrap := s.Rewrap(t.Context(), purpose, "kid", sealed)
	for name, err := range map[string]error{
		"Seal": second(s.Seal(t.Context(), purpose, "kid", []byte("x"))), "Open": second(s.Open(t.Context(), purpose, "kid", sealed)),
		"Opens": s.Opens(sealed), "Rewrap": rewrap,
	} {
		if !errors.Is(err, seal.ErrNoKey) || !strings.Contains(problem.From(err).Detail, "seal: {key:") || !strings.Contains(err.Error(), "openssl rand") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Keys() != nil {
		t.Error("it has keys")
	}
}

func TestNewRefuses(t *testing.T) {
	k := newKey(t)
	if _, err := seal.New(); err == nil {
		t.Error("no key")
	}
	if _, err := seal.New(k, newKey(t), k); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one twice: %v", err)
	}
	s := must(seal.New(k))(t)
	for name, try := range map[string]func() error{
		"no purpose": func() error { return second(s.Seal(t.Context(), "", "kid", []byte("x"))) },
		"no object":  func() error { return second(s.Seal(t.Context(), purpose, "", []byte("x"))) },
		"no secret":  func() error { return second(s.Seal(t.Context(), purpose, "kid", nil)) },
		"too long":   func() error { return second(s.Seal(t.Context(), purpose, "kid", make([]byte, seal.MaxSecret+1))) },
	} {
		if try() == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

// TestNothingPrintsAKey: no way of printing a key shows an octet of it.
func TestNothingPrintsAKey(t *testing.T) {
	var secret [32]byte
	rand.Read(secret[:])
	k := must(seal.NewKey(secret[:]))(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&log, verb+"\n", k)
		fmt.Fprintf(&log, verb+"\n", struct{ K *seal.Key }{k})
		fmt.Fprintf(&log, verb+"\n", []*seal.Key{k})
	}
	if n := strings.Count(log.String(), k.ID().String()); n < 10 {
		t.Errorf("the id is there %d times:\n%s", n, &log)
	}
	text := strings.ToLower(log.String())
	if strings.Contains(text, hex.EncodeToString(secret[:4])) || strings.Contains(text, fmt.Sprintf("%d %d %d", secret[0], secret[1], secret[2])) || strings.Contains(text, "0x") {
		t.Errorf("a key is printed:\n%s", text)
	}
}

// FuzzOpen: no octets make Open panic, and of all of them only those open that were sealed.
func FuzzOpen(f *testing.F) {
	var raw [32]byte
	for i := range raw {
		raw[i] = byte(i)
	}
	s := must(seal.New(must(seal.NewKey(raw[:]))(f)))(f)
	sealed := must(hex.DecodeString(golden))(f) // the same in every process of the fuzzer
	f.Add(sealed)
	f.Add(sealed[:12])
	f.Add([]byte{1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := s.Open(t.Context(), purpose, "kid", in)
		if (err == nil) != bytes.Equal(in, sealed) {
			t.Errorf("%x opened as %q, %v", in, got, err)
		}
		if _, _, err := s.Rewrap(t.Context(), purpose, "kid", in); err == nil && got == nil {
			t.Errorf("%x was wrapped anew and does not open", in)
		}
	})
}
