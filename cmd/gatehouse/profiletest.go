package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// profileTest is what profile test sends.
type profileTest struct {
	CSR     []byte       `json:"csr"`               // DER
	Profile string       `json:"profile"`           // empty: the default one
	Org     string       `json:"org"`               // slug
	Account string       `json:"account,omitempty"` // an ACME account of it; empty: one that nothing restricts
	Door    string       `json:"door,omitempty"`    // acme or console; empty: console if there is a term or a field, else acme
	Term    int64        `json:"term,omitempty"`    // in seconds; zero: none asked for
	Fields  []fieldValue `json:"fields,omitempty"`
}

// fieldValue is policy.FieldValue.
type fieldValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// profileTestView is what it is answered.
type profileTestView struct {
	Profile string      `json:"profile"`
	Org     string      `json:"org"`
	Account string      `json:"account,omitempty"`
	Names   []string    `json:"names"`
	Verdict string      `json:"verdict"` // refused, open or issues
	Checks  []checkView `json:"checks"`
}

// checkView is policy.Check.
type checkView struct {
	Rule    string     `json:"rule"`
	Outcome string     `json:"outcome"`
	Found   string     `json:"found,omitempty"`
	Wanted  string     `json:"wanted"`
	Detail  string     `json:"detail,omitempty"`
	Parts   []partView `json:"parts,omitempty"`
}

// partView is what a rule says of one name.
type partView struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

type profileTestCmd struct {
	adminFlags
	CSR     string   `name:"csr" help:"The CSR: PEM or DER." required:"" type:"existingfile" placeholder:"FILE"`
	As      string   `help:"Who would ask: the slug of an organisation, or of one and an ACME account of it, as SLUG/ACCOUNT." required:"" placeholder:"ORG[/ACCOUNT]"`
	Profile string   `help:"The profile. Without it: the one that /acme/directory serves." placeholder:"NAME"`
	Door    string   `help:"The door that would be asked: acme or console. Without it: acme, or with --term or --field console." placeholder:"DOOR"`
	Term    string   `help:"The term that would be asked for, as the configuration writes it." placeholder:"90d"`
	Field   []string `help:"A custom field that would be given; repeat it for more." placeholder:"NAME=VALUE" sep:"none"`
}

func (c *profileTestCmd) Run(ctx context.Context, s streams) error {
	der, err := readCSR(c.CSR)
	if err != nil {
		return err
	}
	in := profileTest{CSR: der, Profile: c.Profile, Door: c.Door}
	if c.Term != "" {
		term, err := parseDuration(c.Term)
		if err != nil || term < time.Second {
			return fmt.Errorf("--term %q is no term; write for example 90d", c.Term)
		}
		in.Term = int64(term / time.Second)
	}
	fields, err := parseFields(c.Field)
	if err != nil {
		return err
	}
	for _, f := range fields {
		in.Fields = append(in.Fields, fieldValue{f.Name, f.Value})
	}
	in.Org, in.Account, _ = strings.Cut(c.As, "/")
	var v profileTestView
	if err := c.call(ctx, "POST", "/profile-tests", in, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	return v.print(s.out)
}

// maxCSRFile is how much of a file is read: a CSR of the largest size that is taken, in PEM, and more.
const maxCSRFile = 128 << 10

// readCSR reads a file with a CSR in PEM or DER.
func readCSR(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCSRFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	switch {
	case block == nil && len(text) > 0 && text[0] == 0x30: // a DER SEQUENCE
		return text, nil
	case block == nil:
		return nil, fmt.Errorf("%s holds neither PEM nor DER; make one with: openssl req -new -key KEY -subj / -addext subjectAltName=DNS:www.example.com", path)
	case block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST":
		return nil, fmt.Errorf("%s holds a PEM block of type %q; give one with a CERTIFICATE REQUEST", path, block.Type)
	}
	return block.Bytes, nil
}

// The verdicts and what they mean.
var verdicts = map[string]string{
	"refused": "refused: what failed must change first",
	"open":    "would be issued, once what is open is done",
	"issues":  "would be issued",
}

// print shows every rule with what it found, and under what fails what would pass.
func (v profileTestView) print(out io.Writer) error {
	var b strings.Builder
	as := v.Org
	if v.Account != "" {
		as += "/" + v.Account
	}
	fmt.Fprintf(&b, "%s as %s, by the profile %s\n\n", strings.Join(v.Names, ", "), as, v.Profile)
	for _, c := range v.Checks {
		fmt.Fprintf(&b, "%-4s  %-18s  %s\n", c.Outcome, c.Rule, dash(c.Found))
		if c.Outcome == "pass" {
			continue
		}
		line := func(word, text string) { fmt.Fprintf(&b, "      %-18s  %-6s  %s\n", "", word, text) }
		if len(c.Parts) == 0 {
			line("why", c.Detail)
		}
		for _, p := range c.Parts {
			line("why", p.Detail)
		}
		line("passes", c.Wanted)
	}
	fmt.Fprintf(&b, "\n%s\n", verdicts[v.Verdict])
	_, err := io.WriteString(out, b.String())
	return err
}
