package ra_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// The callers, by role: kim asks in organisation 2, below 1.
var (
	kim    = person("user:21", 2, auth.Requester)
	kai    = person("user:22", 2, auth.Requester)
	judge  = person("user:23", 2, auth.Approver)
	reader = person("user:24", 2, auth.Auditor)
	admin  = person("user:25", 1, auth.Administrator)
	mallet = person("user:90", 9, auth.Requester, auth.Approver, auth.Administrator, auth.Auditor)
)

func person(principal string, org auth.OrgID, roles ...auth.Role) auth.Caller {
	c := auth.Caller{Principal: principal, Org: org}
	for _, r := range roles {
		c.Roles = append(c.Roles, auth.Grant{Org: org, Role: r})
	}
	return c
}

// keyWorld keeps private keys: under the profile "kept" they may be made, under "kept-approved" after an approval, under "tls" not.
type keyWorld struct {
	*world
	dir string // of the embedded store; empty on another engine
	log *logs
}

// logs is what is logged, as text.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func newKeyWorld(t *testing.T) *keyWorld {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	var w *keyWorld
	engine, err := embedded.Open(embedded.Config{Dir: dir, Now: func() time.Time {
		if w == nil {
			return start
		}
		return w.clock.now()
	}})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w = newKeyWorldOn(t, engine)
	w.dir = dir
	return w
}

func newKeyWorldOn(t *testing.T, engine storage.Engine) *keyWorld {
	t.Helper()
	w := &keyWorld{world: newWorldOn(t, engine), log: &logs{}}
	w.Registrar = w.keeping(sealer(t, 1), nil)
	return w
}

// keeping is another registrar of the same store, as another process has it.
func (w *keyWorld) keeping(s *seal.Sealer, change func(c *ra.Config)) *ra.Registrar {
	w.t.Helper()
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "lab", Parent: 1}, {ID: 9, Slug: "other"}})
	must(w.t, err)
	return w.registrar(func(c *ra.Config) {
		c.May = directory.May
		c.MayDecide = func(caller auth.Caller, _ policy.ApproverRole, org auth.OrgID) error {
			return directory.May(caller, auth.Approve, org)
		}
		c.Allowed = func(auth.OrgID, string) bool { return true }
		c.Profiles["kept"] = keptProfile(w.t, "kept", 0)
		c.Profiles["kept-approved"] = keptProfile(w.t, "kept-approved", 1)
		c.Escrow = ra.Escrow{Store: w.db, Sealer: s, Wait: 10 * time.Second}
		c.Log = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if change != nil {
			change(c)
		}
	})
}

func keptProfile(t *testing.T, name string, approvals int) *policy.Profile {
	t.Helper()
	p, err := policy.New(policy.Config{
		Name: name, Issuer: "main", Validity: 24 * time.Hour, ServerKeys: policy.ServerKeysOn, DCV: policy.NoValidation, AllowNames: []string{"*.example.com"},
		KeyTypes:  []policy.KeyType{policy.RSA2048, policy.ECDSAP256, policy.ECDSAP384, policy.ECDSAP521, policy.Ed25519},
		Approvals: policy.ApprovalRule{Required: approvals},
	})
	must(t, err)
	return p
}

// sealer has the keys of these numbers, the first of which seals.
func sealer(t *testing.T, numbers ...byte) *seal.Sealer {
	t.Helper()
	var keys []*seal.Key
	for _, n := range numbers {
		secret := sha256.Sum256([]byte{n})
		k, err := seal.NewKey(secret[:])
		must(t, err)
		keys = append(keys, k)
	}
	s, err := seal.New(keys...)
	must(t, err)
	return s
}

// wanted is a request for a key to be made.
func (w *keyWorld) wanted(profile string, t policy.KeyType, names ...string) ra.Request {
	return ra.Request{Door: ra.DoorConsole, Profile: profile, Names: ids(w.t, names...), Key: t}
}

// made is an enrollment of kim's whose key was made here.
func (w *keyWorld) made(names ...string) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Submit(w.t.Context(), kim, w.wanted("kept", policy.ECDSAP256, names...))
	must(w.t, err)
	if e.Phase != ra.Issued || e.KeyStored.IsZero() {
		w.t.Fatalf("%+v", e)
	}
	return e
}

// own is an enrollment of kim's for a key that kim has.
func (w *keyWorld) own(profile string, key crypto.Signer, names ...string) *ra.Enrollment {
	w.t.Helper()
	csr, err := testca.CSR(key, names...)
	must(w.t, err)
	e, err := w.Submit(w.t.Context(), kim, ra.Request{Door: ra.DoorConsole, Profile: profile, Names: ids(w.t, names...), CSR: csr})
	must(w.t, err)
	return e
}

// leaf is the certificate of an enrollment.
func (w *keyWorld) leafOf(e *ra.Enrollment) *x509.Certificate {
	w.t.Helper()
	cert, err := x509.ParseCertificate(w.certificate(e.Serial).DER)
	must(w.t, err)
	return cert
}

var inClear = ra.Offer{Format: "key", Clear: true}

// take downloads the key of an enrollment by a link of the caller's.
func (w *keyWorld) take(caller auth.Caller, id ra.ID) (crypto.PrivateKey, error) {
	w.t.Helper()
	secret, _, err := w.OfferDownload(w.t.Context(), caller, id, inClear)
	must(w.t, err)
	var key crypto.PrivateKey
	_, err = w.TakeDownload(w.t.Context(), secret, "192.0.2.7", func(f ra.KeyFile) ([]byte, error) {
		key = f.Key
		return []byte("file"), nil
	})
	return key, err
}

// belongs demands that a key is the certificate's.
func (w *keyWorld) belongs(key crypto.PrivateKey, e *ra.Enrollment) {
	w.t.Helper()
	signer, ok := key.(crypto.Signer)
	if !ok || !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(w.leafOf(e).PublicKey) {
		w.t.Errorf("the key of enrollment %d is a %T of something else", e.ID, key)
	}
}

// words are what the journal says of an enrollment's key.
func (w *keyWorld) words(id ra.ID) (list []audit.Event) {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	for _, e := range w.journal.events {
		switch e.Kind {
		case audit.KeyStored, audit.KeyDestroyed, audit.KeyDownloaded:
			if e.Enrollment == int64(id) {
				list = append(list, e)
			}
		}
	}
	return list
}

// traces are what a secret would look like where it must not be: as it is, in hex, and in base64 at each place in a group.
func traces(secret []byte) [][]byte {
	list := [][]byte{secret, []byte(hex.EncodeToString(secret)), bytes.ToUpper([]byte(hex.EncodeToString(secret)))}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), secret...))
			list = append(list, []byte(text[4:len(text)-4]))
		}
	}
	return list
}

// secrets are the parts of a private key that nobody else may see.
func secrets(t *testing.T, key crypto.PrivateKey) [][]byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	middle := len(der) / 2 // also where a header differs
	return [][]byte{der, der[len(der)-100:], der[middle-16 : middle+16]}
}

// mustLack demands that nothing of secrets is in data.
func mustLack(t *testing.T, where string, data []byte, secrets ...[]byte) {
	t.Helper()
	for _, s := range secrets {
		for _, trace := range traces(s) {
			if bytes.Contains(data, trace) {
				t.Errorf("%s holds a secret of %d octets, as %.20q…", where, len(s), trace)
			}
		}
	}
}

// everything that is in files below a folder, one after the other.
func everything(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	}))
	return all
}

// journaled is the whole journal as it would be written.
func (w *keyWorld) journaled() []byte {
	w.t.Helper()
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	text, err := json.Marshal(w.journal.events)
	must(w.t, err)
	for _, e := range w.journal.events { // what is base64 in it, also by itself
		text = append(append(text, e.Data...), e.DER...)
	}
	return text
}
