package embedded

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Config opens an [Engine].
type Config struct {
	// Dir is the store's own folder. Open makes it, with mode 0700, if it does not exist; nothing else may lie in it.
	Dir string
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: nothing is logged
}

const (
	fileName   = "store.db"
	newPattern = ".store-*.new" // a store in the making; a crash may leave one behind
	schema     = 1              // raised when an older program could misread the file

	lockTimeout = time.Second
	// mapSize is reserved address space, not memory: with all of it mapped at once, growing never has to wait for readers
	// to let go of an old mapping. 64 GiB, or 256 MiB on a 32-bit machine.
	mapSize = 1 << (28 + 8*(^uint(0)>>63))
)

var (
	bucketMeta      = []byte("gatehouse")
	bucketRecords   = []byte("records")   // key → envelope
	bucketExpiry    = []byte("expiry")    // time, key → nothing
	bucketIndex     = []byte("index")     // see index.go
	bucketSequences = []byte("sequences") // name → last number given out

	metaSchema = []byte("schema") // uint32, big endian
	metaID     = []byte("id")     // 16 random bytes
)

// Open opens the store in cfg.Dir, or makes one in an empty or missing folder. The error is one line for an operator: a
// folder in use by another process, one that holds something else, a file of a newer program.
//
// Opening reads every page once to find the free ones: about a second per gigabyte that is not in the page cache.
func Open(cfg Config) (*Engine, error) {
	e := &Engine{
		dir:    filepath.Clean(cfg.Dir),
		now:    cfg.Now,
		log:    cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		commit: (*bbolt.Tx).Commit,
		jobs:   make(chan *job, queueLength),
		quit:   make(chan struct{}),
		ledger: newLedger(),
		hub:    newHub(),
	}
	if cfg.Dir == "" {
		return nil, errors.New("the store needs a folder")
	}
	if e.now == nil {
		e.now = time.Now
	}
	e.horizon.moved = make(chan struct{})
	if err := e.openStore(); err != nil {
		return nil, err
	}
	e.started = e.now()
	e.tasks.Go(e.committer)
	e.tasks.Go(e.sweeper)
	return e, nil
}

func (e *Engine) openStore() (err error) {
	if err := claim(e.dir, e.log); err != nil {
		return err
	}
	if e.reserve, err = reserveOf(e.dir); err != nil {
		return fmt.Errorf("the store folder %s: %w", e.dir, err)
	}
	if e.db, err = openFile(e.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.db.Close()
		}
	}()
	id, err := e.current()
	if err != nil {
		return err
	}
	e.horizon.synced.Store(int64(id))
	return e.db.View(func(tx *bbolt.Tx) error {
		copy(e.id[:], tx.Bucket(bucketMeta).Get(metaID))
		return nil
	})
}

// claim makes sure that dir is a folder with a store in it, making both where nothing is.
func claim(dir string, log *slog.Logger) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot make the store folder: %w", err)
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
		return create(dir)
	case err != nil:
		return fmt.Errorf("cannot open the store folder: %w", err)
	case !info.IsDir():
		return fmt.Errorf("the store folder %s is a file; choose another folder", dir)
	}
	if info.Mode().Perm()&0o077 != 0 {
		log.Warn("others may list the store folder; mode 0700 is enough", "folder", dir, "mode", info.Mode().Perm())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read the store folder: %w", err)
	}
	found := false
	for _, entry := range entries {
		name := entry.Name()
		inTheMaking, _ := filepath.Match(newPattern, name)
		switch {
		case name == fileName:
			found = true
		case inTheMaking, name == "lost+found":
		default:
			return fmt.Errorf("the store folder %s holds something else (%s); choose an empty folder, or one with a store alone in it", dir, name)
		}
	}
	if found {
		return nil
	}
	return create(dir)
}

// create makes an empty store under another name and links it into place whole, so that neither a crash nor a second
// process can leave half a store.
func create(dir string) error {
	f, err := os.CreateTemp(dir, newPattern) // mode 0600
	if err != nil {
		return fmt.Errorf("cannot make a store: %w", err)
	}
	name := f.Name()
	f.Close()
	defer os.Remove(name)
	db, err := bbolt.Open(name, 0o600, options())
	if err != nil {
		return fmt.Errorf("cannot make a store: %w", err)
	}
	err = db.Update(stamp)
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("cannot make a store: %w", err)
	}
	if err := os.Link(name, filepath.Join(dir, fileName)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make a store: %w", err)
	}
	return syncDir(dir)
}

// stamp marks a new file as a store.
func stamp(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketRecords, bucketExpiry, bucketIndex, bucketSequences} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	id := make([]byte, 16)
	rand.Read(id)
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(metaID, id); err != nil {
		return err
	}
	return meta.Put(metaSchema, binary.BigEndian.AppendUint32(nil, schema))
}

// syncDir makes a new name in dir survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func options() *bbolt.Options {
	return &bbolt.Options{
		Timeout:         lockTimeout,
		NoFreelistSync:  true, // the list of free pages is written at the end (writeFreeList), or found again at the next open
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true,
	}
}

// openFile opens and checks the store file, which must exist.
func openFile(dir string) (*bbolt.DB, error) {
	name := filepath.Join(dir, fileName)
	if info, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	} else if info.Size() == 0 { // bbolt would make a database of it
		return nil, foreign(name)
	}
	db, err := openDB(name)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("the store folder %s is locked by another process; stop it or choose another folder", dir)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, foreign(name)
	case err != nil:
		return nil, fmt.Errorf("cannot open the store %s: %w", name, err)
	}
	if err := db.View(func(tx *bbolt.Tx) error { return check(tx, name) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openDB turns bbolt's panics over a damaged file into an error.
func openDB(name string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file is damaged, restore it from a backup: %v", r)
		}
	}()
	readAhead(name)
	return bbolt.Open(name, 0o600, options())
}

// check tells a store from any other bbolt file, and one of today from one of tomorrow.
func check(tx *bbolt.Tx, name string) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || len(meta.Get(metaID)) != 16 || len(meta.Get(metaSchema)) != 4 {
		return foreign(name)
	}
	if v := binary.BigEndian.Uint32(meta.Get(metaSchema)); v > schema {
		return fmt.Errorf("the store %s was written by a newer version of this program (schema %d, known up to %d); use that version", name, v, schema)
	}
	for _, bucket := range [][]byte{bucketRecords, bucketExpiry, bucketIndex, bucketSequences} {
		if tx.Bucket(bucket) == nil {
			return fmt.Errorf("the store %s is damaged (no %s), restore it from a backup", name, bucket)
		}
	}
	return nil
}

func foreign(name string) error {
	return fmt.Errorf("%s is not a Gatehouse store; choose an empty folder", name)
}
