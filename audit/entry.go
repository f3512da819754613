package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Entry is one event as the journal holds it. Its memory belongs to the receiver.
type Entry struct {
	Seq   int64    // 1 for the first entry of a journal, then without a gap
	Prev  [32]byte // hash of the entry before
	Hash  [32]byte // SHA-256 of this entry's line with its newline
	Group int64    // first Seq of the write this entry was part of
	Event Event
}

// Mark is a point of the chain: an entry's number and hash. Kept away from the journal, it later proves that the
// journal still holds everything up to that entry unchanged.
type Mark struct {
	Seq  int64
	Hash [32]byte
}

// String is the mark as "seq:hex".
func (m Mark) String() string {
	return strconv.FormatInt(m.Seq, 10) + ":" + hex.EncodeToString(m.Hash[:])
}

// ParseMark is the inverse of [Mark.String].
func ParseMark(text string) (Mark, error) {
	seq, sum, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	hash, hexOK := parseHash(sum)
	if !ok || err != nil || n < 1 || !hexOK {
		return Mark{}, fmt.Errorf("audit: %q is not a mark: want a sequence number, a colon and 64 hexadecimal digits", text)
	}
	return Mark{Seq: n, Hash: hash}, nil
}

// record is a line as JSON.
type record struct {
	Seq     int64  `json:"seq"`
	Prev    string `json:"prev"`
	Group   int64  `json:"group"`
	Journal string `json:"journal"`
	Event
}

var (
	errNotWhole = errors.New("the line is cut short")
	errNotJSON  = errors.New("the line is not JSON")
)

// decode reads one line with its newline; journal is the id that only a first line carries. errNotWhole and errNotJSON
// say that the bytes cannot be what a finished write left; any other error is JSON that the writer never makes.
func decode(line []byte) (e Entry, journal string, err error) {
	if !bytes.HasSuffix(line, []byte("}\n")) {
		if bytes.HasSuffix(line, []byte("\n")) {
			return Entry{}, "", errNotJSON
		}
		return Entry{}, "", errNotWhole
	}
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return Entry{}, "", errNotJSON
		}
		return Entry{}, "", fmt.Errorf("the line is not an entry: %w", err)
	}
	prev, ok := parseHash(r.Prev)
	if !ok || r.Seq < 1 || r.Group < 1 || r.Group > r.Seq {
		return Entry{}, "", errors.New("the line is not an entry: seq, prev or group is not as the journal writes it")
	}
	return Entry{Seq: r.Seq, Prev: prev, Hash: sha256.Sum256(line), Group: r.Group, Event: r.Event}, r.Journal, nil
}

func parseHash(text string) (h [32]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(h)) || strings.ToLower(text) != text {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err == nil
}

// genesis is the prev of a journal's first line.
func genesis(journal string) [32]byte {
	return sha256.Sum256([]byte("gatehouse journal " + journal))
}
