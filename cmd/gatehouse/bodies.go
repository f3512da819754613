package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
)

const (
	// uploadRate is how fast an upload must come at least, in octets a second: half a megabit, so that 50 MiB take a quarter of an hour
	// at most.
	uploadRate = 64 << 10
	// uploadAnswer is how long the answer may take: ten thousand certificates are imported in seconds, on a busy machine in a minute.
	uploadAnswer = 10 * time.Minute
	// uploadReserve is how much of the disk's free space uploads leave to the store and the journal, which are on it as well and refuse to
	// write when there is little, on disks where an eighth is more than that.
	uploadReserve = 64 << 20
)

// bodies are what requests of the main listener may send where that is not what any request may: uploads; and the doors that refuse
// what is too large in a form of their own.
func bodies() func(r *http.Request) web.Body {
	own := scm.Paths()
	return func(r *http.Request) (b web.Body) {
		b.Own = slices.ContainsFunc(own, func(path string) bool {
			return r.URL.Path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(r.URL.Path, path)
		})
		if b.Own && scm.IsUpload(r) {
			b.Max, b.Rate, b.Answer = scm.MaxUpload, uploadRate, uploadAnswer
		}
		return b
	}
}

// uploadsFolder makes the folder in which uploads stand while they are read, empty. Their files have no names but for an instant; a
// process that ends in it leaves one without a single octet.
func uploadsFolder(data string) (string, error) {
	dir := filepath.Join(data, "uploads")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the folder of uploads: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "upload-*"))
	if err != nil {
		return "", err
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			return "", fmt.Errorf("removing what was left of an upload: %w", err)
		}
	}
	return dir, nil
}

// uploadsRoom reports whether an upload may take more of the disk under a folder: not so much that issuance stops for it.
func uploadsRoom(dir string) func() error {
	return func() error {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			return fmt.Errorf("asking how full the disk under %s is: %w", dir, err)
		}
		free, reserve := s.Bavail*uint64(s.Bsize), min(uploadReserve, s.Blocks*uint64(s.Bsize)/8)
		if free < reserve {
			return fmt.Errorf("the disk under %s is too full for uploads: %d MiB free, %d MiB are kept for the store and the journal; free some space", dir, free>>20, reserve>>20)
		}
		return nil
	}
}
