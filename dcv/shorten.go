package dcv

import (
	"encoding/json"
	"slices"
)

// Encoded is a record as JSON with as many entries in its lists as fit into a number of bytes; nil of no record, or if it does
// not fit with one entry in each list.
func (r *Record) Encoded(most int) []byte {
	if r == nil {
		return nil
	}
	for n := 64; n > 0; n /= 2 {
		encoded, err := json.Marshal(r.Shortened(n))
		if err != nil {
			return nil // cannot happen: a record is made of texts, numbers, times and addresses
		}
		if len(encoded) <= most {
			return encoded
		}
	}
	return nil
}

// Shortened is a copy of a record with at most n entries in each of its lists, n at least 1: the first ones, and the last,
// which tells how it ended. How long a list is, is up to whoever runs the names' DNS and web servers, so a record that is to
// be kept must be shortened first. r is left as it was.
func (r *Record) Shortened(n int) *Record {
	short := *r
	short.Hops = cut(r.Hops, n, &short.Omitted)
	for i := range short.Hops {
		h := &short.Hops[i]
		h.Lookups = cut(h.Lookups, n, &short.Omitted)
		for k := range h.Lookups {
			h.Lookups[k].shorten(n, &short.Omitted)
		}
		h.Addresses = cut(h.Addresses, n, &short.Omitted)
		h.Dials = cut(h.Dials, n, &short.Omitted)
	}
	short.CAA = cut(r.CAA, n, &short.Omitted)
	for i := range short.CAA {
		short.CAA[i].shorten(n, &short.Omitted)
		short.CAA[i].Records = cut(short.CAA[i].Records, n, &short.Omitted)
	}
	return &short
}

func (l *Lookup) shorten(n int, omitted *int) {
	l.Aliases = cut(l.Aliases, n, omitted)
	l.Found = cut(l.Found, n, omitted)
	l.Explained = cut(l.Explained, n, omitted)
}

// cut copies the first n-1 entries and the last one of a list that has more than n.
func cut[T any](list []T, n int, omitted *int) []T {
	if len(list) <= n {
		return slices.Clone(list)
	}
	*omitted += len(list) - n
	return append(slices.Clone(list[:n-1]), list[len(list)-1])
}
