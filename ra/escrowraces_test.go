package ra_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// interrupted is an engine between whose scan of private keys and what follows it something happens, once.
type interrupted struct {
	storage.Engine
	by func()
}

func (i *interrupted) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) ([][]byte, error) {
	members, err := i.Engine.Scan(ctx, index, r, p)
	if by := i.by; by != nil && strings.Contains(index, "private") {
		i.by = nil
		by()
	}
	return members, err
}

// TestPagesOfKeysAreWhole: one that is destroyed while a page is read does not make the page short, which would end a rewrap
// before its time.
func TestPagesOfKeysAreWhole(t *testing.T) {
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store"), Now: func() time.Time { return start }})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	i := &interrupted{Engine: engine}
	w := newKeyWorldOn(t, i)
	var made []*ra.Enrollment
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"} {
		made = append(made, w.made(name))
	}
	done := false
	i.by = func() {
		done = true
		for _, e := range made[:2] {
			_, err := w.DestroyKey(t.Context(), kim, e.ID)
			must(t, err)
		}
	}
	keys, err := w.db.PrivateKeys(t.Context(), 0, 2)
	must(t, err)
	if !done || len(keys) != 2 || keys[0].Enrollment != made[2].ID || keys[1].Enrollment != made[3].ID {
		t.Errorf("the page has %d keys", len(keys))
	}
}

// TestNoDownloadAfterADestruction that was acknowledged while the file was being written.
func TestNoDownloadAfterADestruction(t *testing.T) {
	for name, destroy := range map[string]func(w *keyWorld, id ra.ID) error{
		"destroyed": func(w *keyWorld, id ra.ID) error {
			_, err := w.DestroyKey(w.t.Context(), admin, id)
			return err
		},
		"removed": func(w *keyWorld, id ra.ID) error { return w.Remove(w.t.Context(), kim, id) },
	} {
		w := newKeyWorld(t)
		e := w.made("www.example.com")
		secret, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
		must(t, err)
		file, err := w.TakeDownload(t.Context(), secret, "192.0.2.7", func(ra.KeyFile) ([]byte, error) {
			return []byte("file"), destroy(w, e.ID)
		})
		if file != nil || !problem.Is(err, problem.NotFound) {
			t.Errorf("%s: %q, %v", name, file, err)
		}
		for _, word := range w.words(e.ID) {
			if word.Kind == audit.KeyDownloaded {
				t.Errorf("%s: the journal says %+v", name, word)
			}
		}
	}
}

// TestCarriedKeyIsSealedAnew: a renewal during a rewrap leaves nothing under the old seal key.
func TestCarriedKeyIsSealedAnew(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	w.Registrar = w.keeping(sealer(t, 2, 1), nil)
	next, err := w.Renew(t.Context(), kim, ra.RenewRequest{ID: e.ID, Door: ra.DoorConsole})
	must(t, err)
	w.Registrar = w.keeping(sealer(t, 2), nil)
	key, err := w.take(kim, next.ID)
	must(t, err)
	w.belongs(key, next)
}
