package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Open opens or begins the journal of a folder, checks its last two segments and that no other is missing, cuts off a
// write that a crash left unfinished, and appends a [Started] entry. A folder without a journal is refused unless
// cfg.New, one with a journal if cfg.New; see [ErrNoJournal], [ErrExists], [ErrLocked]. Anything else wrong is an error
// that changes nothing. The caller closes the journal.
func Open(cfg Config) (*Journal, error) {
	cfg = cfg.withDefaults()
	if cfg.New {
		if err := makeDir(cfg.Dir); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
	} else if _, err := os.Stat(cfg.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (%s)", ErrNoJournal, cfg.Dir)
	}
	held, err := lock(cfg.Dir)
	if errors.Is(err, ErrLocked) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("audit: lock: %w", err)
	}
	j, err := open(cfg, held)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return j, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = defaultSegmentBytes
	}
	if cfg.disk == nil {
		cfg.disk = osDisk{cfg.Dir}
	}
	return cfg
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

func open(cfg Config, held *os.File) (*Journal, error) {
	walked, first, err := examine(os.DirFS(cfg.Dir))
	if err != nil {
		return nil, fmt.Errorf("audit: the journal in %s is not as it was written; run \"gatehouse audit verify\": %w", cfg.Dir, err)
	}
	switch exists := walked.chain.seq > 0; {
	case exists && cfg.New:
		return nil, fmt.Errorf("%w (%s)", ErrExists, cfg.Dir)
	case !exists && !cfg.New:
		return nil, fmt.Errorf("%w (%s)", ErrNoJournal, cfg.Dir)
	}
	if err := sweep(cfg.Dir); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	w := &writer{disk: cfg.disk, now: cfg.Now, log: cfg.Log, limit: cfg.SegmentBytes, ahead: extension, chain: walked.chain}
	if cfg.New {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		w.chain.journal = hex.EncodeToString(id[:])
		w.chain.hash = genesis(w.chain.journal)
		err = w.roll()
	} else {
		err = w.resume(walked, first)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audit: %w", err), w.abandon())
	}
	j := start(cfg, w, held)
	if err := j.Append(context.Background(), started(cfg.Version, walked.torn)); err != nil {
		j.lock = nil // Open releases it
		return nil, errors.Join(fmt.Errorf("audit: first entry: %w", err), j.Close())
	}
	return j, nil
}

func started(version string, torn int) Event {
	e := Event{Kind: Started, Actor: "system", Detail: version}
	if torn > 0 {
		e.Detail += fmt.Sprintf(" (cut off %d bytes of a write that was not finished)", torn)
	}
	return e
}

// examine follows the chain through the last two segments, and any not yet compressed, and compares the names of those
// before. It returns a walker that stands at the end, and the time of the last segment's first entry.
func examine(dir fs.FS) (w *walker, first time.Time, err error) {
	if w, err = lastSegments(dir); err != nil {
		return nil, first, err
	}
	err = w.walk(func(e Entry, at place) error {
		if at.line == 1 {
			first = e.Event.At
		}
		return nil
	})
	return w, first, err
}

// lastSegments makes a walker that begins at the segment before the open one, where the chain is taken on trust; of the
// segments before that only the names are compared.
func lastSegments(dir fs.FS) (*walker, error) {
	segs, err := segments(dir)
	if err != nil {
		return nil, err
	}
	w := &walker{dir: dir}
	from := 0
	for from < len(segs)-2 && segs[from].compressed() {
		w.segs = segs[from : from+1]
		if b := w.contiguous(0); b != nil {
			return nil, b
		}
		w.chain.seq = segs[from].last
		from++
	}
	if w.segs, w.chain.loose = segs[from:], from > 0; w.chain.loose {
		if w.chain.journal, err = readID(dir, segs[0]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// segmentsFrom makes a walker that begins at the segment that holds an entry, or would hold it.
func segmentsFrom(dir fs.FS, seq int64) (*walker, error) {
	segs, err := segments(dir)
	if err != nil || len(segs) == 0 {
		return &walker{dir: dir, segs: segs}, err
	}
	from := 0
	for from+1 < len(segs) && segs[from+1].first <= seq {
		from++
	}
	w := &walker{dir: dir, segs: segs[from:]}
	if from > 0 {
		w.chain = chain{seq: segs[from].first - 1, loose: true}
		w.chain.journal, err = readID(dir, segs[0])
	}
	return w, err
}

// readID reads the journal's id from its first line.
func readID(dir fs.FS, s segment) (string, error) {
	l, err := openSegment(dir, s)
	if err != nil {
		return "", err
	}
	defer l.close()
	line, err := l.next()
	if err != nil {
		return "", err
	}
	_, id, err := decode(line)
	if err == nil && id == "" {
		err = errors.New("the first line names no journal")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name, err)
	}
	return id, nil
}

// resume takes up the last segment where its lines end. The process before this one may have been killed with its last
// group written but not synced, or after a sync that failed and left pages that look clean and are not on disk (see
// [writer]). Nothing shows which, so the last group is written once more over itself, identical bytes that a crash
// cannot harm, and synced; the zeros ahead are given up, as they may be no more than pages either.
func (w *writer) resume(walked *walker, first time.Time) (err error) {
	w.name, w.off, w.size = walked.segs[len(walked.segs)-1].name, walked.end, walked.end
	if w.day = day(first); w.off == 0 {
		w.day = day(w.now())
	}
	if w.file, err = w.disk.open(w.name); err != nil {
		return err
	}
	if walked.torn > 0 {
		w.log.Warn("audit: a write that a crash left unfinished was cut off",
			slog.String("file", w.name), slog.Int("bytes", walked.torn), slog.Int64("after", w.chain.seq))
	}
	if err := w.file.Truncate(w.off); err != nil {
		return err
	}
	group := make([]byte, w.off-walked.last)
	if _, err := w.file.ReadAt(group, walked.last); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(group, walked.last); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	return w.disk.syncDir()
}

// abandon closes the segment as it is, for the next Open to judge.
func (w *writer) abandon() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

func start(cfg Config, w *writer, held *os.File) *Journal {
	j := &Journal{
		cfg: cfg, id: w.chain.journal, lock: held,
		wake: make(chan struct{}, 1), compress: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	j.publish(w)
	j.done.Go(func() { j.run(w) })
	j.done.Go(func() { j.compressor() })
	j.closed = sync.OnceValue(func() error {
		j.mu.Lock()
		j.closing = true
		j.mu.Unlock()
		notify(j.wake)
		close(j.quit)
		j.done.Wait()
		err := w.finish()
		if err != nil {
			err = errors.Join(err, w.abandon())
		}
		sick := fmt.Errorf("audit: %w", errClosed)
		j.sick.Store(&sick)
		if j.lock != nil {
			err = errors.Join(err, j.lock.Close())
		}
		return err
	})
	notify(j.compress)
	return j
}
