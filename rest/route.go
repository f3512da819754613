package rest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Route is a method and a pattern of segments, such as "/{id}/location", of which those in braces stand for any one segment.
type Route[H any] struct {
	Method, Pattern string
	Handle          H
}

// Table finds routes by method and path. http.ServeMux refuses patterns of which neither is the more special, such as
// /collect/{id} and /{id}/location; here the first segment in which two patterns differ decides, and a literal goes before a
// parameter. It is immutable and safe for concurrent use.
type Table[H any] struct {
	routes   []Route[H]
	segments [][]string
}

// NewTable makes a Table. Two routes of one method that differ in nothing but the names of parameters are an error.
func NewTable[H any](routes []Route[H]) (*Table[H], error) {
	t := &Table[H]{}
	seen := map[string]string{}
	for _, r := range slices.SortedStableFunc(slices.Values(routes), func(a, b Route[H]) int { return strings.Compare(shape(a.Pattern), shape(b.Pattern)) }) {
		key := r.Method + " " + shape(r.Pattern)
		if other, twice := seen[key]; twice {
			return nil, fmt.Errorf("%s %s takes the same paths as %s", r.Method, r.Pattern, other)
		}
		seen[key] = r.Pattern
		t.routes = append(t.routes, r)
		t.segments = append(t.segments, split(r.Pattern))
	}
	return t, nil
}

// shape is a pattern with its parameters behind every literal in the order of strings.
func shape(pattern string) string {
	list := split(pattern)
	for i, s := range list {
		if parameter(s) {
			list[i] = "\uffff"
		}
	}
	return strings.Join(list, "/")
}

func parameter(segment string) bool { return strings.HasPrefix(segment, "{") }

// split leaves out one slash at either end.
func split(path string) []string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// Found is a route and what its parameters stand for.
type Found[H any] struct {
	Route      Route[H]
	Parameters map[string]string // unescaped
}

// Find finds the route of a path, which is escaped as it came: an escaped slash separates nothing. A slash at the end makes no
// difference. The first pattern that fits alone counts, whatever its methods; allowed are those if the method is not among them.
func (t *Table[H]) Find(method, path string) (found Found[H], allowed []string, ok bool) {
	var parts []string
	for _, s := range split(path) {
		part, err := url.PathUnescape(s)
		if err != nil || part == "" {
			return found, nil, false
		}
		parts = append(parts, part)
	}
	fits := ""
	for i, r := range t.routes {
		if !match(t.segments[i], parts) || fits != "" && shape(r.Pattern) != fits {
			continue
		}
		fits = shape(r.Pattern)
		allowed = append(allowed, r.Method)
		if r.Method == method {
			found = Found[H]{Route: r, Parameters: map[string]string{}}
			for n, s := range t.segments[i] {
				if parameter(s) {
					found.Parameters[strings.Trim(s, "{}")] = parts[n]
				}
			}
			return found, nil, true
		}
	}
	return found, allowed, false
}

func match(segments, parts []string) bool {
	if len(segments) != len(parts) {
		return false
	}
	for i, s := range segments {
		if !parameter(s) && s != parts[i] {
			return false
		}
	}
	return true
}

// Routes are all of them as "METHOD pattern", in the order in which they are tried.
func (t *Table[H]) Routes() []string {
	var list []string
	for _, r := range t.routes {
		list = append(list, r.Method+" "+r.Pattern)
	}
	return list
}
