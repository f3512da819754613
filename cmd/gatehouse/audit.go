package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// auditCmd holds the commands about the journal. They open the files themselves and can run beside a gateway.
type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Verify the hash chain of the whole journal."`
}

type auditVerifyCmd struct {
	Data string   `help:"Data folder." default:"/var/lib/gatehouse" env:"GATEHOUSE_DATA" type:"path"`
	Mark []string `help:"The end of the journal as an earlier run printed it; the journal must still hold it." placeholder:"SEQ:HASH"`
	JSON bool     `help:"Print JSON."`
}

// verifyView is the report as programs read it.
type verifyView struct {
	OK      bool      `json:"ok"`
	Entries int64     `json:"entries"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Head    string    `json:"head,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
	Problem string    `json:"problem,omitempty"`
}

func (c *auditVerifyCmd) Run(s streams) error {
	var marks []audit.Mark
	for _, text := range c.Mark {
		m, err := audit.ParseMark(text)
		if err != nil {
			return err
		}
		marks = append(marks, m)
	}
	report, err := audit.Verify(filepath.Join(c.Data, "journal"), marks...)
	if errors.Is(err, audit.ErrNoJournal) || err == nil && report.Entries == 0 {
		return fmt.Errorf("%s holds no journal; name the gateway's data folder with --data", filepath.Join(c.Data, "journal"))
	}
	v := verifyView{OK: err == nil, Entries: report.Entries, First: report.First, Last: report.Last, Notes: report.Notes}
	if report.Entries > 0 {
		v.Head = report.Head.String()
	}
	if err != nil {
		v.Problem = err.Error()
	}
	switch {
	case c.JSON:
		if bad := writeJSON(s.out, v); bad != nil {
			return bad
		}
	case !errors.Is(err, audit.ErrNoJournal):
		printReport(s, v)
	}
	if err != nil {
		return errReported
	}
	return nil
}

func printReport(s streams, v verifyView) {
	if v.Entries > 0 {
		fmt.Fprintf(s.out, "%d entries, %s to %s\nend %s\n", v.Entries, v.First.Format(time.RFC3339), v.Last.Format(time.RFC3339), v.Head)
	}
	for _, note := range v.Notes {
		fmt.Fprintln(s.out, "note:", note)
	}
	if v.OK {
		fmt.Fprintln(s.out, "the chain is whole")
	} else {
		fmt.Fprintln(s.out, "BROKEN:", v.Problem)
	}
}
