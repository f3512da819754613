package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/alecthomas/kong"
)

// What the documents say is tried.

// root is where README.md is, seen from this folder.
const root = "../.."

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the fenced code blocks of a language.
func blocks(markdown, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(markdown, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestReadmeConfig reads the configuration in the README as a gateway does, with files of a throw-away hierarchy.
func TestReadmeConfig(t *testing.T) {
	t.Parallel()
	yamls := blocks(readDoc(t, "README.md"), "yaml")
	if len(yamls) != 1 {
		t.Fatalf("the README holds %d YAML blocks, want one", len(yamls))
	}
	folder := hierarchyFolder(t)
	text := yamls[0]
	for _, file := range []string{"issuer.pem", "issuer.key"} {
		text = strings.ReplaceAll(text, "/etc/gatehouse/"+file, filepath.Join(folder, file))
	}
	// The listener's certificate may be any with its key.
	text = strings.ReplaceAll(text, "/etc/gatehouse/tls.pem", filepath.Join(folder, "issuer.pem"))
	text = strings.ReplaceAll(text, "/etc/gatehouse/tls.key", filepath.Join(folder, "issuer.key"))
	if strings.Contains(text, "/etc/gatehouse") {
		t.Fatalf("a file of the README's configuration is not known here:\n%s", text)
	}
	text += "validation: {resolvers: [\"192.0.2.53:53\"]}\n" // a machine that runs tests may have none in /etc/resolv.conf
	file, err := parseConfig("README.md", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0)); err != nil {
		t.Fatal(err)
	}
}

// TestReadmeCommands parses every gatehouse command line of the documents.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for _, doc := range documents(t) {
		for _, block := range blocks(readDoc(t, doc), "sh") {
			for line := range strings.Lines(block) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
				args := shellWords(line)
				switch {
				case len(args) > 3 && args[0] == "go" && args[1] == "run" && args[2] == "./cmd/gatehouse":
					args = args[3:]
				case len(args) > 1 && args[0] == "gatehouse":
					args = args[1:]
				default:
					continue
				}
				found++
				parser, err := kong.New(&cli{}, kong.Name("gatehouse"), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(args); err != nil {
					t.Errorf("%s: %q: %v", doc, line, err)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("%d command lines found; the README has more", found)
	}
}

// shellWords are a command line's, as a shell divides it: at blanks outside quotation marks.
func shellWords(line string) []string {
	quoted := false
	list := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
	for i, w := range list {
		list[i] = strings.ReplaceAll(w, `"`, "")
	}
	return list
}

// documents are the Markdown files whose words are the project's.
func documents(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, rel)
		}
	}
	if len(list) == 0 {
		t.Fatal("no documents")
	}
	return list
}

// TestLinks follows every relative link of the documents to a file.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, doc), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(doc), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}

// TestEveryWordIsExplained holds the README to its promise that config.go, and for a section of its own a file named after it
// (limitsconfig.go), explain every word of the file, and policy/config.go those of a profile.
func TestEveryWordIsExplained(t *testing.T) {
	t.Parallel()
	here, policy := map[string]bool{}, commented(t, filepath.Join(root, "policy", "config.go"))
	files, err := filepath.Glob("*config.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the files of the configuration: %v, %v", files, err)
	}
	for _, file := range files {
		maps.Copy(here, commented(t, file))
	}
	maps.Copy(policy, commented(t, filepath.Join(root, "policy", "subject.go")))
	seen := map[reflect.Type]bool{}
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || seen[of] {
			return
		}
		seen[of] = true
		for f := range of.Fields() {
			word := f.Tag.Get("yaml")
			if word == "" {
				continue
			}
			if !here[of.Name()+"."+word] && !policy[strings.TrimSuffix(of.Name(), "Config")+"."+word] {
				t.Errorf("nothing explains %s in %s", word, of.Name())
			}
			check(f.Type)
		}
	}
	check(reflect.TypeFor[fileConfig]())
}

// commented are the struct fields of a file that a comment explains: their own, one that names them in front of their
// neighbours, or their type's. They are named by type and YAML word; policy's types as cmd's that mirror them.
func commented(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{} // with a comment of their own
	structs := map[string]*ast.StructType{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			types[spec.Name.Name] = decl.Doc != nil || spec.Doc != nil
			if st, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = st
			}
		}
	}
	out := map[string]bool{}
	for name, st := range structs {
		mirror := strings.ToLower(name)
		if name == "Config" {
			mirror = "profile"
		}
		above := ""
		for _, f := range st.Fields.List {
			if f.Doc != nil {
				above = f.Doc.Text()
			}
			for _, id := range f.Names {
				explained := f.Doc != nil || f.Comment != nil || strings.Contains(above, id.Name) || types[elementName(f.Type)]
				out[name+"."+yamlWord(f, id.Name)] = explained
				out[mirror+"."+snake(id.Name)] = explained
			}
		}
	}
	return out
}

func elementName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return elementName(e.X)
	case *ast.ArrayType:
		return elementName(e.Elt)
	case *ast.MapType:
		return elementName(e.Value)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func yamlWord(f *ast.Field, name string) string {
	if f.Tag != nil {
		if word := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"); word != "" {
			return word
		}
	}
	return name
}

// snake turns ExtKeyUsages into ext_key_usages and SubjectFromCSR into subject_from_csr.
func snake(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
