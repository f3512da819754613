package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// source is the file as it was written, to find the line of a word in.
type source struct {
	path string
	file *ast.File
}

// parseSource reads a file that must be one YAML document.
func parseSource(path string, text []byte) (*source, error) {
	s := &source{path: path}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, s.explain(err)
	}
	s.file = file
	switch {
	case len(file.Docs) > 1 && file.Docs[1].Body != nil:
		return nil, s.place(file.Docs[1].Body.GetToken(), errors.New("a second document begins here; put everything into one"))
	case len(file.Docs) == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.CommentGroupType:
		return nil, s.place(nil, errors.New("the file holds nothing; begin with data: /var/lib/gatehouse"))
	}
	return s, nil
}

// place puts file, line and column in front of an error; no token is the file's beginning.
func (s *source) place(t *token.Token, err error) error {
	line, column := 1, 1
	if t != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return fmt.Errorf("%s:%d:%d: %w", s.path, line, column, err)
}

// at places an error at a YAML path such as "profiles.tls.validity", or at the nearest word above it that the file has.
func (s *source) at(path string, err error) error {
	for s.file != nil && path != "" {
		if p, bad := yaml.PathString("$." + path); bad == nil {
			if node, bad := p.FilterFile(s.file); bad == nil && node != nil {
				return s.place(node.GetToken(), err)
			}
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return s.place(nil, err)
}

// placedError is an error of a value that knows where it stands.
type placedError struct {
	token *token.Token
	err   error
}

func (e *placedError) Error() string { return e.err.Error() }

// explain says in an operator's words, on one line, what the decoder found: where, what, and what to write instead.
func (s *source) explain(err error) error {
	if e, ok := errors.AsType[*placedError](err); ok {
		return s.place(e.token, e.err)
	}
	if e, ok := errors.AsType[*yaml.UnknownFieldError](err); ok {
		return s.place(e.Token, fmt.Errorf("%q is not known here; the words are %s", e.Token.Value, strings.Join(s.words(e.Token), ", ")))
	}
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		return s.place(e.Token, fmt.Errorf("%s stands where %s is needed", found(e.SrcType, e.Token), wanted(e.DstType.Kind())))
	}
	if e, ok := errors.AsType[*yaml.UnexpectedNodeTypeError](err); ok {
		return s.place(e.Token, fmt.Errorf("a %s stands where %s is needed", e.Actual.YAMLName(), wantedNode(e.Expected)))
	}
	if e, ok := errors.AsType[*yaml.OverflowError](err); ok {
		return s.place(e.Token, fmt.Errorf("%s is out of range; write a smaller number", e.SrcNum))
	}
	if e, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		if strings.HasPrefix(e.Message, "mapping key") { // the parser's words for this have no type of their own
			return s.place(e.Token, fmt.Errorf("%q is given a second time; remove one of the two", e.Token.Value))
		}
		return s.place(e.Token, fmt.Errorf("this is not YAML (%s); check indentation, brackets and colons here and in the line before", firstLine(e.Message)))
	}
	return s.place(nil, errors.New(firstLine(err.Error())))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// found describes a value of the wrong type.
func found(t reflect.Type, at *token.Token) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a mapping"
	}
	return fmt.Sprintf("%q", at.Value)
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Slice:
		return "a list, as in [a, b],"
	case reflect.Map, reflect.Struct:
		return "a mapping, as in {word: value},"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	}
	return "a text"
}

func wantedNode(n ast.NodeType) string {
	switch n {
	case ast.SequenceType:
		return wanted(reflect.Slice)
	case ast.MappingType:
		return wanted(reflect.Map)
	}
	return "a " + n.YAMLName()
}

// words are those that may stand where a key stands, in the order of the struct that is decoded into.
func (s *source) words(key *token.Token) []string {
	finder := &keyFinder{line: key.Position.Line, column: key.Position.Column}
	if s.file != nil {
		for _, doc := range s.file.Docs {
			ast.Walk(finder, doc)
		}
	}
	t := reflect.TypeFor[fileConfig]()
	steps := strings.Split(strings.TrimPrefix(finder.path, "$."), ".")
	for _, step := range steps[:len(steps)-1] { // the last is the key itself
		word, index, _ := strings.Cut(step, "[")
		if t.Kind() == reflect.Map {
			t = t.Elem()
		} else {
			t = fieldType(t, word)
		}
		if index != "" && t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return yamlWords(t)
}

// fieldType is the type of the field with a YAML word, or t if it has none.
func fieldType(t reflect.Type, word string) reflect.Type {
	if t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if f.Tag.Get("yaml") == word {
				return f.Type
			}
		}
	}
	return t
}

func yamlWords(t reflect.Type) []string {
	var words []string
	if t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if word := f.Tag.Get("yaml"); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// keyFinder looks for the YAML path of the key at a position.
type keyFinder struct {
	line, column int
	path         string
}

// Visit implements [ast.Visitor].
func (f *keyFinder) Visit(n ast.Node) ast.Visitor {
	if entry, ok := n.(*ast.MappingValueNode); ok {
		if at := entry.Key.GetToken().Position; at.Line == f.line && at.Column == f.column {
			f.path = entry.Value.GetPath()
		}
	}
	return f
}
