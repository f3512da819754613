package gatehouse

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-ca/gatehouse"

// leaves are what every package may import.
var leaves = []string{"identifier", "problem"}

// mayImport is the house's import graph: a row may import, of ours, only what it names. Do not widen a row to make a build
// pass: the graph is the design, and a wrong import is a rule in the wrong package.
var mayImport = map[string][]string{
	"identifier":              {},
	"problem":                 {"identifier"},
	"internal/work":           {"problem"},
	"internal/web":            {"problem"},
	"audit":                   leaves,
	"seal":                    {"problem"},
	"bundle":                  {"problem"},
	"testca":                  {"identifier"},
	"dcv":                     leaves,
	"policy":                  with(leaves, "dcv"),
	"auth":                    with(leaves, "audit", "seal"),
	"ca":                      with(leaves, "policy", "dcv", "audit", "internal/work"),
	"publish":                 with(leaves, "ca", "internal/work"),
	"ra":                      with(leaves, "ca", "dcv", "policy", "auth", "audit", "seal", "internal/work"),
	"notify":                  with(leaves, "ra", "seal", "internal/work"),
	"acme/jws":                {"problem"},
	"acme":                    with(leaves, "acme/jws", "ca", "ra", "dcv", "policy", "auth", "audit", "internal/work"),
	"console":                 with(leaves, "ra", "auth", "bundle"),
	"rest":                    with(leaves, "auth"),
	"rest/scm":                with(leaves, "rest", "ra", "auth", "bundle", "dcv", "policy"),
	"storage":                 with(leaves, "acme", "ra", "ca", "publish", "policy", "dcv", "auth", "audit"),
	"storage/embedded":        with(leaves, "storage"),
	"storage/storetest":       with(leaves, "storage"),
	"storage/redis":           with(leaves, "storage"),
	"internal/testneed":       {},
	"storage/redis/redistest": {"internal/testneed"},
	"conformance":             {},
	"cmd/gatehouse":           {"*"},
}

func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// TestImportGraph holds every package that is not a test to its row, and every row to a package.
func TestImportGraph(t *testing.T) {
	seen := map[string]bool{}
	for dir, files := range goFiles(t) {
		if dir == "." {
			continue
		}
		seen[dir] = true
		allowed, ok := mayImport[dir]
		if !ok {
			t.Errorf("package %s has no row in the import graph", dir)
			continue
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(path.Join(dir, file)), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/")
				if !ours || slices.Contains(allowed, "*") || slices.Contains(allowed, imported) {
					continue
				}
				t.Errorf("%s/%s imports %s, which the row of %s does not name", dir, file, imported, dir)
			}
		}
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("the import graph has a row for %s, where there is no package", dir)
		}
	}
}

// TestPackageComments demands of every package that it says what it is for.
func TestPackageComments(t *testing.T) {
	for dir, files := range goFiles(t) {
		var text string
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(path.Join(dir, file)), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				if text != "" {
					t.Errorf("%s: two files have a package comment; %s is the second", dir, file)
				}
				text = f.Doc.Text()
			}
		}
		if len(text) < 200 {
			t.Errorf("%s: the package comment must say what it decides, what it trusts and what it never does", dir)
		}
	}
}

// goFiles lists the files that are not tests, by package folder.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") {
			out[path.Dir(p)] = append(out[path.Dir(p)], path.Base(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
