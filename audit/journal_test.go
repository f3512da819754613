package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a settable time source.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func mustOpen(t testing.TB, cfg Config) *Journal {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	j, err := Open(cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func mustAppend(t testing.TB, j *Journal, events ...Event) {
	t.Helper()
	if err := j.Append(t.Context(), events...); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

func signed(n int) Event {
	return Event{Kind: Signed, At: noon.Add(time.Duration(n) * time.Second), Actor: "acme:a1", Org: 7, Enrollment: int64(n),
		Issuer: "main", Serial: fmt.Sprintf("%034x", n), Names: []string{"a.example.com", "b.example.com"}, DER: bytes.Repeat([]byte{byte(n), 0xfe}, 40)}
}

// readAll returns the journal's events after the Started ones.
func readAll(t testing.TB, dir string) []Event {
	t.Helper()
	var got []Event
	for e, err := range After(dir, 0) {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		if e.Event.Kind != Started {
			got = append(got, e.Event)
		}
	}
	return got
}

func mustVerify(t testing.TB, dir string, marks ...Mark) Report {
	t.Helper()
	r, err := Verify(dir, marks...)
	if err != nil {
		t.Fatalf("Verify: %v (%+v)", err, r)
	}
	return r
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

func TestAppendedIsReadBackAcrossOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	var want []Event
	var id string
	for i := range 3 {
		j := mustOpen(t, Config{Dir: dir, New: i == 0, Version: "v1"})
		if id == "" {
			id = j.ID()
		}
		if j.ID() != id || len(id) != 32 {
			t.Errorf("id is %q, was %q", j.ID(), id)
		}
		mustAppend(t, j, signed(3*i), signed(3*i+1))
		mustAppend(t, j, signed(3*i+2))
		want = append(want, signed(3*i), signed(3*i+1), signed(3*i+2))
		seq, hash := j.Head()
		if r := mustVerify(t, dir, Mark{seq, hash}); r.Head.Seq != int64(4*(i+1)) || r.Head.Hash != hash || r.Journal != id {
			t.Errorf("while open: %+v, head %d", r, seq)
		}
		mustClose(t, j)
	}
	if diff := cmp.Diff(want, readAll(t, dir)); diff != "" {
		t.Error(diff)
	}
	r := mustVerify(t, dir)
	if r.Entries != 12 || r.Segments != 1 || !r.First.Equal(noon) || !r.Last.Equal(noon.Add(8*time.Second)) || len(r.Notes) != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestEventWithoutTimeGetsTheClock(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true})
	mustAppend(t, j, Event{Kind: Revoked, Actor: "system"})
	if got := readAll(t, dir); len(got) != 1 || !got[0].At.Equal(noon) {
		t.Errorf("got %+v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	begun := func(t *testing.T) string {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, Config{Dir: dir, New: true}))
		return dir
	}
	for _, c := range []struct {
		name string
		dir  func(*testing.T) string
		new  bool
		want error
		text string
	}{
		{"absent folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "absent") }, false, ErrNoJournal, "--new-journal"},
		{"empty folder", func(t *testing.T) string { return t.TempDir() }, false, ErrNoJournal, "--new-journal"},
		{"new where one is", begun, true, ErrExists, "without --new-journal"},
		{"held by a process", func(t *testing.T) string {
			dir := t.TempDir()
			mustOpen(t, Config{Dir: dir, New: true})
			return dir
		}, false, ErrLocked, fmt.Sprintf("process %d", os.Getpid())},
		{"segment removed", func(t *testing.T) string {
			dir := begun(t)
			if err := os.Rename(filepath.Join(dir, plainName(1)), filepath.Join(dir, plainName(2))); err != nil {
				t.Fatal(err)
			}
			return dir
		}, false, nil, "gatehouse audit verify"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			_, err := Open(Config{Dir: dir, New: c.new})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestNewJournalThatCrashedBeforeItsFirstEntryIsNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, plainName(1)), append([]byte(`{"seq":1,"pre`), make([]byte, 4096)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrNoJournal) {
		t.Errorf("Open: %v", err)
	}
	mustClose(t, mustOpen(t, Config{Dir: dir, New: true}))
	if r := mustVerify(t, dir); r.Entries != 1 {
		t.Errorf("report %+v", r)
	}
}

func TestConcurrentAppends(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true, SegmentBytes: 50_000})
	const clients, each = 32, 20
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				e := signed(c*each + i)
				w := e
				w.Kind = WillSign
				if err := j.Append(t.Context(), w, e); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	reads := make(chan struct{})
	go func() { // a reader beside the writer sees a whole chain at any moment
		defer close(reads)
		for range 20 {
			if _, err := Verify(dir); err != nil {
				t.Errorf("Verify beside the writer: %v", err)
			}
		}
	}()
	wg.Wait()
	<-reads
	mustClose(t, j)
	got := readAll(t, dir)
	if len(got) != 2*clients*each {
		t.Fatalf("%d events, want %d", len(got), 2*clients*each)
	}
	last := map[int64]int64{}
	for i := 0; i < len(got); i += 2 {
		if got[i].Kind != WillSign || got[i+1].Kind != Signed || got[i].Enrollment != got[i+1].Enrollment {
			t.Fatalf("events of one append were parted at %d", i)
		}
		client := got[i].Enrollment / each
		if n, seen := last[client]; seen && got[i].Enrollment != n+1 {
			t.Errorf("client %d: %d after %d", client, got[i].Enrollment, n)
		}
		last[client] = got[i].Enrollment
	}
}

func TestAppendErrors(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Append(gone, signed(1)); !problem.Is(err, problem.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if err := j.Append(t.Context(), Event{Kind: Signed, At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil || problem.Is(err, problem.Unavailable) {
		t.Errorf("year 10000: %v", err)
	}
	if err := j.Append(t.Context(), Event{Kind: Signed, DER: make([]byte, maxGroup)}); err == nil || problem.Is(err, problem.Unavailable) {
		t.Errorf("too large: %v", err)
	}
	if err := j.Append(t.Context()); err != nil {
		t.Errorf("nothing: %v", err)
	}
	big := Event{Kind: Signed, At: noon, Actor: "system", DER: make([]byte, maxGroup*3/4-2*headSize)}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { mustAppend(t, j, big) })
	}
	wg.Wait()
	if got := readAll(t, dir); len(got) != 3 {
		t.Errorf("%d events, want the three large ones", len(got))
	}
	if err := j.Healthy(); err != nil {
		t.Errorf("Healthy: %v", err)
	}
	mustClose(t, j)
	if err := j.Append(t.Context(), signed(1)); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter == 0 {
		t.Errorf("closed: %v", err)
	}
	if j.Healthy() == nil {
		t.Error("a closed journal is not healthy")
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestMarks(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true})
	mustAppend(t, j, signed(1))
	seq, hash := j.Head()
	m, err := ParseMark(Mark{seq, hash}.String())
	if err != nil || m.Seq != seq || m.Hash != hash {
		t.Fatalf("ParseMark: %v %v", m, err)
	}
	for _, bad := range []string{"", "1", "x:" + strings.Repeat("0", 64), "0:" + strings.Repeat("0", 64), "1:00", "1:" + strings.Repeat("A", 64)} {
		if _, err := ParseMark(bad); err == nil {
			t.Errorf("ParseMark(%q) passed", bad)
		}
	}
	mustVerify(t, dir, m)
	wantBreak(t, dir, Edited, seq, Mark{seq, [32]byte{}})
	wantBreak(t, dir, Truncated, seq+1, Mark{seq + 1, hash})
}

func wantBreak(t *testing.T, dir string, kind BreakKind, seq int64, marks ...Mark) {
	t.Helper()
	_, err := Verify(dir, marks...)
	b, ok := errors.AsType[*Break](err)
	if !ok || b.Kind != kind || b.Seq != seq {
		t.Errorf("Verify: %v, want %s at %d", err, kind, seq)
	}
}
