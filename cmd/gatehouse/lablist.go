package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// labListCmd prints the table.
type labListCmd struct {
	JSON bool `help:"Print JSON."`
}

func (c *labListCmd) Run(s streams) error {
	if c.JSON {
		return writeJSON(s.out, labHosts())
	}
	return writeLabTable(s.out, labHosts())
}

// writeLabTable prints rows for people.
func writeLabTable(out io.Writer, hosts []labHost) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tMETHOD\tPROFILE\tWHAT IS WRONG WITH IT\tEXPECTED")
	for _, h := range hosts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.Method, h.Profile, h.Trouble, shortType(h.Expected))
	}
	return w.Flush()
}

// shortType is an error type without the words that all have.
func shortType(t string) string { return strings.TrimPrefix(t, problemType("")) }
