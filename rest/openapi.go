package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"github.com/goccy/go-yaml"
)

// OpenAPI is an OpenAPI 3.0 document in its two forms, which say the same. Nobody may change them.
type OpenAPI struct {
	Title      string // of info
	YAML, JSON []byte
}

// methods are the members of a path that are operations (OpenAPI 3.0.3, Path Item Object).
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// MergeOpenAPI makes one document of the fragments of a dialect, which are all of the *.yaml of a folder, in the order of their
// names. openapi, info, servers and security are in one of them; tags, paths and the members of components are put
// together, and what two of them define is an error. The member x-responses of one of them is what every operation answers with as
// well, by status, unless it says otherwise; it is not in the document.
func MergeOpenAPI(folder fs.FS) (*OpenAPI, error) {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, err
	}
	m := merger{from: map[string]string{}}
	for _, name := range names {
		data, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, err
		}
		var fragment yaml.MapSlice
		if err := yaml.UnmarshalWithOptions(data, &fragment, yaml.UseOrderedMap()); err != nil {
			return nil, fmt.Errorf("openapi: %s is not a mapping in YAML: %w", name, err)
		}
		if err := m.add(name, fragment); err != nil {
			return nil, fmt.Errorf("openapi: %s: %w", name, err)
		}
	}
	return m.document()
}

// merger holds what the fragments have together.
type merger struct {
	single     yaml.MapSlice // openapi, info and others that stand alone
	responses  yaml.MapSlice // x-responses
	tags       []any
	paths      yaml.MapSlice
	components yaml.MapSlice
	from       map[string]string // which fragment has defined something
}

// claim notes that a fragment defines something.
func (m *merger) claim(name, what string) error {
	if other, twice := m.from[what]; twice {
		return fmt.Errorf("%s is defined by %s already", what, other)
	}
	m.from[what] = name
	return nil
}

func (m *merger) add(name string, fragment yaml.MapSlice) error {
	for _, item := range fragment {
		var err error
		switch key := fmt.Sprint(item.Key); key {
		case "openapi", "info", "servers", "security":
			err = m.claim(name, key)
			m.single = append(m.single, item)
		case "x-responses":
			err = m.claim(name, key)
			m.responses, _ = item.Value.(yaml.MapSlice)
		case "tags":
			tags, _ := item.Value.([]any)
			for _, tag := range tags {
				text, _ := member(tag, "name").(string)
				if err := m.claim(name, "the tag "+text); err != nil {
					return err
				}
			}
			m.tags = append(m.tags, tags...)
		case "paths":
			m.paths, err = m.members(name, "the path ", m.paths, item.Value)
		case "components":
			err = m.addComponents(name, item.Value)
		default:
			err = fmt.Errorf("%s is not what a fragment may have", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// members appends the members of a mapping, each of which is to be defined once.
func (m *merger) members(name, kind string, list yaml.MapSlice, mapping any) (yaml.MapSlice, error) {
	items, ok := mapping.(yaml.MapSlice)
	if !ok && mapping != nil {
		return nil, fmt.Errorf("there is no mapping where %s… is to be defined", kind)
	}
	for _, item := range items {
		if err := m.claim(name, kind+fmt.Sprint(item.Key)); err != nil {
			return nil, err
		}
	}
	return append(list, items...), nil
}

func (m *merger) addComponents(name string, mapping any) error {
	sections, _ := mapping.(yaml.MapSlice)
	for _, section := range sections {
		kind := fmt.Sprint(section.Key)
		at := slices.IndexFunc(m.components, func(i yaml.MapItem) bool { return i.Key == kind })
		if at < 0 {
			at = len(m.components)
			m.components = append(m.components, yaml.MapItem{Key: kind, Value: yaml.MapSlice(nil)})
		}
		all, err := m.members(name, "components/"+kind+"/", m.components[at].Value.(yaml.MapSlice), section.Value)
		if err != nil {
			return err
		}
		m.components[at].Value = all
	}
	return nil
}

func (m *merger) document() (*OpenAPI, error) {
	for _, path := range m.paths {
		operations, _ := path.Value.(yaml.MapSlice)
		for i, operation := range operations {
			if slices.Contains(methods, fmt.Sprint(operation.Key)) {
				operations[i].Value = withResponses(operation.Value, m.responses)
			}
		}
	}
	whole := plain(append(slices.Clone(m.single), yaml.MapItem{Key: "tags", Value: m.tags}, yaml.MapItem{Key: "paths", Value: m.paths},
		yaml.MapItem{Key: "components", Value: m.components}))
	title, _ := member(member(whole, "info"), "title").(string)
	for _, key := range []string{"openapi", "info"} {
		if m.from[key] == "" {
			return nil, fmt.Errorf("openapi: no fragment has %s", key)
		}
	}
	document := &OpenAPI{Title: title}
	var err error
	if document.YAML, err = yaml.MarshalWithOptions(whole, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := encode(&b, whole); err != nil {
		return nil, err
	}
	document.JSON = b.Bytes()
	return document, nil
}

// withResponses is an operation with responses beside its own.
func withResponses(operation any, more yaml.MapSlice) any {
	members, _ := operation.(yaml.MapSlice)
	for i, item := range members {
		if item.Key != "responses" {
			continue
		}
		responses, _ := item.Value.(yaml.MapSlice)
		for _, r := range more {
			if !slices.ContainsFunc(responses, func(own yaml.MapItem) bool { return fmt.Sprint(own.Key) == fmt.Sprint(r.Key) }) {
				responses = append(responses, r)
			}
		}
		members[i].Value = responses
	}
	return operation
}

// member is a member of a mapping; nil if there is none.
func member(mapping any, name string) any {
	items, _ := mapping.(yaml.MapSlice)
	for _, item := range items {
		if item.Key == name {
			return item.Value
		}
	}
	return nil
}

// plain is a value whose keys are all strings, as those of JSON are: 200 is one that YAML reads as a number.
func plain(value any) any {
	switch v := value.(type) {
	case yaml.MapSlice:
		list := make(yaml.MapSlice, 0, len(v))
		for _, item := range v {
			list = append(list, yaml.MapItem{Key: fmt.Sprint(item.Key), Value: plain(item.Value)})
		}
		return list
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, plain(item))
		}
		return list
	}
	return value
}

// encode writes a plain value as JSON, in the order in which it stands.
func encode(b *bytes.Buffer, value any) error {
	switch v := value.(type) {
	case yaml.MapSlice:
		return encodeAll(b, '{', '}', len(v), func(i int) error {
			if err := encode(b, v[i].Key); err != nil {
				return err
			}
			b.WriteByte(':')
			return encode(b, v[i].Value)
		})
	case []any:
		return encodeAll(b, '[', ']', len(v), func(i int) error { return encode(b, v[i]) })
	}
	data, err := json.Marshal(value)
	b.Write(data)
	return err
}

func encodeAll(b *bytes.Buffer, first, last byte, n int, one func(int) error) error {
	b.WriteByte(first)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := one(i); err != nil {
			return err
		}
	}
	b.WriteByte(last)
	return nil
}
