package rest

import (
	"net/url"
	"strconv"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxPosition is the furthest place at which a page can begin.
const MaxPosition = 1<<31 - 1

// Page is a part of a list.
type Page struct {
	Position int // how many are skipped
	Size     int
}

// ParsePage reads a page from the parameters "position" and "size". A size that is absent, empty or 0 is most; a
// position that is absent, empty or -1 is 0. The error is Malformed with ErrValue in its chain.
func ParsePage(q url.Values, most int) (Page, error) {
	position, err := number(q, "position", -1, MaxPosition)
	if err != nil {
		return Page{}, err
	}
	size, err := number(q, "size", 0, int64(most))
	if err != nil {
		return Page{}, err
	}
	if size == 0 {
		size = int64(most)
	}
	return Page{Position: int(max(position, 0)), Size: int(size)}, nil
}

// QueryInt reads a whole number from a parameter; 0 if it is absent or empty. The error is Malformed with ErrValue in its chain.
func QueryInt(q url.Values, name string, least, most int64) (int64, error) {
	return number(q, name, least, most)
}

func number(q url.Values, name string, least, most int64) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, problem.Wrap(ErrValue, problem.Malformed, "%s is not a whole number from %d to %d", name, least, most)
	}
	return n, nil
}
