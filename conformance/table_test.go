package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is one requirement that binds a server.
type row struct {
	section string // "7.3.5"
	name    string // of its tests, behind the section
	rule    string // what is required, in our words
	accepts func(t *testing.T, g *gateway)
	refuses func(t *testing.T, g *gateway)
	// elsewhere are tests of other packages, as "dcv.TestName", where the gateway cannot be watched from outside.
	elsewhere []string
	// departs is what docs/divergences.md says of it, letter by letter, if the gateway departs from the letter.
	departs string
}

// document is an RFC or draft with its rows, in the order of its sections.
type document struct {
	test  string // the name of the test that runs the rows
	title string
	rows  []row
	// others says which of its requirements have no row, because they bind somebody else or nothing here.
	others string
}

// documents are all tables.
func documents() []document {
	return []document{
		{"TestRFC8555", "RFC 8555, Automatic Certificate Management Environment", slices.Concat(
			rfc8555Requests(), rfc8555URLs(), rfc8555Nonces(), rfc8555Errors(), rfc8555Objects(), rfc8555Accounts(), rfc8555Binding(), rfc8555KeyChange(),
			rfc8555Orders(), rfc8555Authorizations(), rfc8555Revocation(), rfc8555Challenges(), rfc8555Files(),
		), `6.1 (User-Agent), 6.5 (which nonce is sent, and what follows a bad one), 7.3 (no hfields), 7.3.4 (how a binding is made), 7.4 (no assumptions about sequences), 8.3 (who copies tokens), 11.1 (fresh keys) and 11.4 (what is read from a chain) bind clients.`},
		{"TestRFC8737", "RFC 8737, TLS ALPN challenge", rfc8737(), "3 (what a client puts into its certificate and its server) binds clients, and is held to account by the row for step 4."},
		{"TestRFC8738", "RFC 8738, IP identifiers", rfc8738(), ""},
		{"TestRFC8659", "RFC 8659, CAA", rfc8659(), `4.1 (what a record may hold) binds who publishes it. 5.4 (no third party's cache as the only source) binds the operator, who chooses the resolvers: docs/issuance.md, "CAA".`},
		{"TestRFC8657", "RFC 8657, CAA accounturi and validationmethods", rfc8657(), "4 (labels for methods outside ACME): there are none, so that none has a label. 5.2 binds who publishes records."},
		{"TestRFC9773", "RFC 9773, renewal information", rfc9773(), "4.2 (when clients renew) and 4.3 (when they ask) bind clients."},
		{"TestProfiles", "draft-ietf-acme-profiles", profileRows(), ""},
	}
}

func TestRFC8555(t *testing.T)  { run(t) }
func TestRFC8737(t *testing.T)  { run(t) }
func TestRFC8738(t *testing.T)  { run(t) }
func TestRFC8659(t *testing.T)  { run(t) }
func TestRFC8657(t *testing.T)  { run(t) }
func TestRFC9773(t *testing.T)  { run(t) }
func TestProfiles(t *testing.T) { run(t) }

// run has every row of the test's document tried on one gateway.
func run(t *testing.T) {
	all := documents()
	i := slices.IndexFunc(all, func(d document) bool { return d.test == t.Name() })
	g := newGateway(t)
	for section, rows := range sections(all[i].rows) {
		t.Run(section, func(t *testing.T) {
			for _, r := range rows {
				if r.accepts != nil {
					t.Run(r.name+"/accepts", func(t *testing.T) { r.accepts(t, g) })
				}
				if r.refuses != nil {
					t.Run(r.name+"/refuses", func(t *testing.T) { r.refuses(t, g) })
				}
			}
		})
	}
}

// sections are the rows section by section.
func sections(rows []row) func(yield func(string, []row) bool) {
	return func(yield func(string, []row) bool) {
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && rows[n].section == rows[0].section {
				n++
			}
			if !yield(rows[0].section, rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

var sectionForm = regexp.MustCompile(`^[1-9][0-9]*(\.[1-9][0-9]*)*$`)

// TestRows holds every row to being one: it is tried here or elsewhere, or is a departure that is written down.
func TestRows(t *testing.T) {
	divergences, err := os.ReadFile("../docs/divergences.md")
	must(t, err)
	for _, d := range documents() {
		seen := map[string]bool{}
		for section := range sections(d.rows) {
			if seen[section] {
				t.Errorf("%s: the rows of %s are not together", d.test, section)
			}
			seen[section] = true
		}
		for _, r := range d.rows {
			at := d.test + "/" + r.section + "/" + r.name
			switch {
			case !sectionForm.MatchString(r.section), r.name == "", strings.Trim(r.name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "", r.rule == "", seen[at]:
				t.Errorf("%s: the row has no section, name or rule, or another has the same", at)
			case r.accepts == nil && r.refuses == nil && len(r.elsewhere) == 0 && r.departs == "":
				t.Errorf("%s: nothing tries this row", at)
			case r.departs != "" && !strings.Contains(string(divergences), r.departs):
				t.Errorf("%s: docs/divergences.md does not say %q", at, r.departs)
			}
			seen[at] = true
			for _, test := range r.elsewhere {
				if !exists(t, test) {
					t.Errorf("%s: there is no test %s", at, test)
				}
			}
		}
	}
}

// exists reports whether a package has a test, both as in "storage/redis.TestName".
func exists(t *testing.T, test string) bool {
	t.Helper()
	folder, name, _ := strings.Cut(test, ".")
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(folder), "*_test.go"))
	must(t, err)
	return slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		must(t, err)
		return strings.Contains(string(source), "\nfunc "+name+"(")
	})
}
