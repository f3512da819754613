package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// place is where a page of a listing begins, and how long it is.
type place struct {
	org   string // slug; empty: every organisation
	after string // the last of the page before, or what that page has named
	limit int
}

// query is the place as the socket reads it.
func (p place) query() string {
	return url.Values{"limit": {strconv.Itoa(p.limit)}, "org": {p.org}, "after": {p.after}}.Encode()
}

// readPlace reads a place of a listing whose pages name where the next one begins.
func readPlace(r *http.Request) (place, error) {
	q := r.URL.Query()
	p := place{org: q.Get("org"), limit: 50}
	if err := number(q.Get("limit"), "limit", &p.limit); err != nil {
		return p, err
	}
	after, err := base64.RawURLEncoding.DecodeString(q.Get("after"))
	if err != nil {
		return p, problem.New(problem.Malformed, "after is no place that a page has named")
	}
	p.after = string(after)
	return p, nil
}

// named is a place as a page names it.
func named(place string) string { return base64.RawURLEncoding.EncodeToString([]byte(place)) }

// more says by which command the listing goes on behind the place that a page has named; nothing if that was the last.
func (p place) more(out io.Writer, command, next string) error {
	if next == "" {
		return nil
	}
	words := []string{"more:", "gatehouse", command, "--after", next, "--limit", strconv.Itoa(p.limit)}
	if p.org != "" {
		words = append(words, "--org", p.org)
	}
	_, err := fmt.Fprintln(out, strings.Join(words, " "))
	return err
}

// printTable prints a list for people: a line of column names and one for each entry, or the word for none.
func printTable[T any](out io.Writer, list []T, none, columns string, row func(T) []any) error {
	if len(list) == 0 && none != "" {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(columns, " | ", "\t"))
	for _, entry := range list {
		cells := row(entry)
		fmt.Fprintf(w, strings.Repeat("%v\t", len(cells)-1)+"%v\n", cells...)
	}
	return w.Flush()
}
