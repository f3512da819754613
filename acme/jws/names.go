package jws

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// names are the names of one object's members so far. Few are compared one by one; many go through a map, so that an
// object with tens of thousands of them costs no more than its length.
type names struct {
	few  [8][]byte
	n    int
	many map[string]struct{} // folded
}

// add refuses a name that is there already, in whatever letter case.
func (s *names) add(name []byte, at int) error {
	if s.many != nil {
		folded := fold(string(name))
		if _, twice := s.many[folded]; twice {
			return repeated(name, at)
		}
		s.many[folded] = struct{}{}
		return nil
	}
	for _, earlier := range s.few[:s.n] {
		if bytes.EqualFold(earlier, name) {
			return repeated(name, at)
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return nil
	}
	s.many = make(map[string]struct{}, 4*len(s.few))
	for _, earlier := range s.few {
		s.many[fold(string(earlier))] = struct{}{}
	}
	s.many[fold(string(name))] = struct{}{}
	return nil
}

func repeated(name []byte, at int) error {
	return problem.New(problem.Malformed, "member %s at byte %d was there before, perhaps in other letter case", quote(string(name)), at)
}

// distinct refuses a name that differs from a known one in letter case alone. It must not be called for equal names.
func distinct(name []byte, at int, known string) error {
	if strings.EqualFold(string(name), known) {
		return problem.New(problem.Malformed, "member %s at byte %d must be written %q", quote(string(name)), at, known)
	}
	return nil
}

// unquote decodes the name of a member, given with its quotes.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var name string
	if err := json.Unmarshal(quoted, &name); err != nil {
		return quoted // cannot be: the document is valid
	}
	return []byte(name)
}

// fold maps names that encoding/json would take for one another to one text: every rune becomes the smallest that
// Unicode's simple case folding knows for it.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			return r
		}
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
