package audit

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// compressor packs closed segments, at start those an earlier process left. It never touches the open one. What fails is
// logged and tried again when the next segment closes; until then the segment stays as it is.
func (j *Journal) compressor() {
	for {
		select {
		case <-j.quit:
			return
		case <-j.compress:
		}
		if err := j.pack(); err != nil && !errors.Is(err, errClosed) {
			j.cfg.Log.Warn("audit: compress", slog.Any("error", err))
		}
	}
}

// pack compresses every plain segment but the last, which is being written. The one after it tells its last entry.
func (j *Journal) pack() error {
	segs, err := segments(os.DirFS(j.cfg.Dir))
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(segs); i++ {
		if segs[i].compressed() {
			continue
		}
		if err := packSegment(j.cfg.Dir, segs[i].name, gzipName(segs[i].first, segs[i+1].first-1), j.quit); err != nil {
			return fmt.Errorf("%s: %w", segs[i].name, err)
		}
	}
	return nil
}

// packSegment puts a compressed copy beside the segment, reads it back, and only then removes the original. A crash in
// between leaves both, and readers take the original.
func packSegment(dir, plain, packed string, quit <-chan struct{}) (err error) {
	from, temp := filepath.Join(dir, plain), filepath.Join(dir, packed+tempSuffix)
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // Open removes what stays
		}
	}()
	sum, err := squeeze(from, temp, quit)
	if err != nil {
		return err
	}
	if back, err := unpackedSum(temp, quit); err != nil {
		return err
	} else if back != sum {
		return errors.New("the compressed copy does not unpack to the original")
	}
	if err := os.Rename(temp, filepath.Join(dir, packed)); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return os.Remove(from)
}

// squeeze writes the compressed copy to disk and returns the hash of what it read.
func squeeze(from, to string, quit <-chan struct{}) (sum [32]byte, err error) {
	in, err := os.Open(from)
	if err != nil {
		return sum, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h, buf := sha256.New(), bufio.NewWriterSize(out, 256<<10)
	z, err := gzip.NewWriterLevel(buf, gzip.BestSpeed) // base64 of keys and signatures: more effort gains two percent
	if err != nil {
		return sum, err
	}
	if _, err := io.Copy(io.MultiWriter(h, z), untilQuit{in, quit}); err != nil {
		return sum, err
	}
	if err := errors.Join(z.Close(), buf.Flush(), out.Sync()); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

func unpackedSum(name string, quit <-chan struct{}) (sum [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, untilQuit{z, quit}); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// untilQuit is a reader that fails once quit is closed.
type untilQuit struct {
	io.Reader
	quit <-chan struct{}
}

func (r untilQuit) Read(p []byte) (int, error) {
	select {
	case <-r.quit:
		return 0, errClosed
	default:
		return r.Reader.Read(p)
	}
}

// sweep removes compressed copies that a crash left unfinished.
func sweep(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, ok := parseSegment(strings.TrimSuffix(f.Name(), tempSuffix)); ok && strings.HasSuffix(f.Name(), tempSuffix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
