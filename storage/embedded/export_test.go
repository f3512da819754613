package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

func TestExport(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	version := storage.Version{7}
	err := e.Commit(t.Context(), storage.Batch{
		Version: version,
		Puts: []storage.Put{
			{Key: "a", Value: []byte("1")}, {Key: "b", Expires: epoch.Add(time.Hour)}, {Key: "gone", Expires: epoch.Add(time.Second)},
		},
		Adds: []storage.Entry{{Index: "i", Member: []byte("y")}, {Index: "i"}, {Index: "h", Member: []byte{0, 255}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.NextID(t.Context(), "s", 5); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	var got []string
	visitor := Visitor{
		Record: func(k storage.Key, item storage.Item, expires time.Time) error {
			got = append(got, fmt.Sprintf("%s %q %v %v", k, item.Value, item.Found && item.Version == version, expires.Sub(epoch).Hours() == 1 || expires.IsZero() && k == "a"))
			return nil
		},
		Member: func(entry storage.Entry) error {
			got = append(got, fmt.Sprintf("%s %q", entry.Index, entry.Member))
			return nil
		},
		Sequence: func(name string, last int64) error { got = append(got, fmt.Sprint(name, last)); return nil },
	}
	if err := e.Export(t.Context(), visitor); err != nil {
		t.Fatal(err)
	}
	want := []string{`a "1" true true`, `b "" true true`, `h "\x00\xff"`, `i ""`, `i "y"`, `s5`}
	if !slices.Equal(got, want) {
		t.Errorf("exported %q, want %q", got, want)
	}
	if err := e.Export(t.Context(), Visitor{}); err != nil {
		t.Error(err)
	}

	stop := errors.New("stop")
	visitor.Member = func(storage.Entry) error { return stop }
	if err := e.Export(t.Context(), visitor); !errors.Is(err, stop) {
		t.Errorf("an export that was stopped returned %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	visitor.Record = func(storage.Key, storage.Item, time.Time) error { cancel(); return nil }
	if err := e.Export(ctx, visitor); !errors.Is(err, context.Canceled) {
		t.Errorf("an export whose context ended returned %v", err)
	}
}
