package embedded

import (
	"encoding/binary"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// Which pages of the file are free is written down by Close alone (writeFreeList): with every commit it would cost pages that are
// written and synced, the more the larger the list. bbolt finds it out at an open by walking the whole file if it is not there, which
// is after a kill.

// writeFreeList writes the list. A failure costs a walk at the next open and nothing else. It must not be called while it is
// unknown whether the last commit is on the disk, because it takes pages that an earlier state may have.
func writeFreeList(db *bbolt.DB) {
	db.NoFreelistSync = false // nobody commits any more
	_ = db.Update(func(*bbolt.Tx) error { return nil })
}

// The newer of bbolt's two meta pages says where the list is. A page begins with a header; then come magic, version, page size
// and flags, four octets each, the root bucket, the page of the list, the number of pages, and the transaction.
const (
	pageHeader   = 16
	metaPageSize = pageHeader + 8
	metaFreeList = pageHeader + 32
	metaTx       = pageHeader + 48
	metaEnd      = metaTx + 8
	noFreeList   = 1<<64 - 1
)

// hasFreeList reads whether the list was written. A file that it cannot read has none.
func hasFreeList(f io.ReaderAt) bool {
	var first, second [metaEnd]byte
	if _, err := f.ReadAt(first[:], 0); err != nil {
		return false
	}
	if _, err := f.ReadAt(second[:], int64(binary.NativeEndian.Uint32(first[metaPageSize:]))); err != nil {
		return false
	}
	newest := first
	if binary.NativeEndian.Uint64(second[metaTx:]) > binary.NativeEndian.Uint64(first[metaTx:]) {
		newest = second
	}
	return binary.NativeEndian.Uint64(newest[metaFreeList:]) != noFreeList
}

// readAhead reads a file without a list from its begin to its end, so that the walk, which goes from page to page, finds it in
// memory: of a gigabyte that was not in memory the walk alone took minutes. It only makes what follows faster.
func readAhead(name string) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if !hasFreeList(f) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	}
}
