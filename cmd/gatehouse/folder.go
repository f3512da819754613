package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// folderState is what a data folder holds.
type folderState struct {
	member               membership
	hasStore, hasJournal bool // an embedded store; a journal
}

// lookAtFolder refuses a folder from which something is missing.
func lookAtFolder(s *settings) (state folderState, err error) {
	if state.member, err = readMembership(s.folder); err != nil {
		return state, err
	}
	if s.redis == nil {
		if state.hasStore, err = holdsFiles(filepath.Join(s.folder, "store"), "*"); err != nil {
			return state, err
		}
	}
	journal := filepath.Join(s.folder, "journal")
	if state.hasJournal, err = holdsFiles(journal, journalFiles); err != nil {
		return state, err
	}
	switch {
	case !state.hasJournal && !s.newJournal && (state.hasStore || state.member.Journal != ""):
		return state, fmt.Errorf("%s has been a gateway's data folder and holds no journal; restore %s from where it went, or, if it is lost for good, start once with --new-journal", s.folder, journal)
	case state.hasJournal && s.newJournal:
		return state, fmt.Errorf("%s holds a journal that --new-journal would leave aside; start without it, or move %s away first", s.folder, journal)
	case state.hasJournal && !state.hasStore && s.redis == nil:
		s.log.Warn("there is a journal but no store; what was issued is put back from the journal", "data", s.folder)
	}
	return state, nil
}

// journalFiles are a journal's segments; a lock alone is none.
const journalFiles = "*.jsonl*"

// holdsFiles reports whether a folder exists and holds a file whose name matches.
func holdsFiles(folder, pattern string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			return true, nil
		}
	}
	return false, err
}

// justBegun reports whether the journal of a data folder says nothing but that it was opened: that of a gateway whose first
// start did not succeed.
func justBegun(folder string) bool {
	for e, err := range audit.After(filepath.Join(folder, "journal"), 0) {
		if err != nil || e.Event.Kind != audit.Started {
			return false
		}
	}
	return true
}
