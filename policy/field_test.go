package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// someFields has one of each type.
func someFields() []Field {
	return []Field{
		{Number: 6, Name: "Environment", Type: FieldOption, Options: []string{"test", "production"}},
		{Number: 1, Name: "Cost centre", MinLength: 3, MaxLength: 8, Mandatory: []string{"console", "scm"}},
		{Number: 2, Name: "Remarks", Type: FieldMultiline},
		{Number: 3, Name: "Rack", Type: FieldNumber, MaxLength: 6},
		{Number: 4, Name: "Owner", Type: FieldEmail},
		{Number: 5, Name: "Decommission", Type: FieldDate},
	}
}

var someDoors = []string{"console", "scm", "zerossl"}

func mustFields(t testing.TB, list []Field) *Fields {
	t.Helper()
	f, err := NewFields(list, someDoors)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// fielded has all fields, of which Cost centre is mandatory at two doors and Owner under the profile.
func fielded(t testing.TB) Config {
	cfg := basic()
	cfg.Fields, cfg.MandatoryFields = mustFields(t, someFields()), []string{"Owner"}
	return cfg
}

func given(pairs ...string) []FieldValue {
	var list []FieldValue
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, FieldValue{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func TestFieldValues(t *testing.T) {
	p := mustNew(t, Config{Name: "web", Issuer: "local", Fields: mustFields(t, someFields())})
	for field, values := range map[string]map[string]bool{
		"Cost centre": {
			"abc": true, "12345678": true, "größe": true, "a  c": true,
			"ab": false, "123456789": false, "a\nbc": false, "a\x00bc": false, "abc\u202e": false, "a\u00a0bc": false, "ab\xff": false,
		},
		"Remarks":      {"one": true, "one\ntwo\r\n\tthree": true, strings.Repeat("ü", 256): true, strings.Repeat("x", 257): false, "bell\a": false, "sep\u2028": false},
		"Rack":         {"0": true, "-12": true, "3.50": true, "007": true, "1234567": false, "": true, "1e3": false, "0x1f": false, ".5": false, "5.": false, "--1": false, "1,5": false, "٣": false, " 1": false},
		"Owner":        {"a@example.com": true, "first.last+tag@mail.example.com": true, "a@db.corp": true, "a": false, "@example.com": false, "a@": false, "a@b@example.com": false, "A <a@example.com>": false, `"a b"@example.com`: false, "a@example.com\n": false, "a@[192.0.2.1]": false, "a(comment)@example.com": false, "a..b@example.com": false, "a@*.example.com": false, "a@example.com,b@example.com": false, "ä@example.com": false, strings.Repeat("a", 65) + "@example.com": false},
		"Decommission": {"2027-01-31": true, "2028-02-29": true, "2027-02-29": false, "2027-1-31": false, "31.01.2027": false, "2027-01-31T00:00:00Z": false, "today": false},
		"Environment":  {"test": true, "production": true, "Test": false, "test ": false, "staging": false},
	} {
		for value, takes := range values {
			got, err := p.CustomFields("zerossl", given(field, value))
			switch {
			case takes && err != nil:
				t.Errorf("%s does not take %q: %v", field, value, err)
			case takes && value != "" && (len(got) != 1 || got[0].Value != value || got[0].Name != field || got[0].Number == 0):
				t.Errorf("%s: %q came back as %+v", field, value, got)
			case takes:
			case !problem.Is(err, problem.Malformed) || !errors.Is(err, ErrFieldValue):
				t.Errorf("%s takes %q: %v", field, value, err)
			case !strings.Contains(problem.From(err).Detail, fmt.Sprintf("the custom field %q", field)) || strings.Contains(problem.From(err).Detail, value) && len(value) > 5:
				t.Errorf("%s: the refusal does not name the field, or repeats the value: %v", field, err)
			}
		}
	}
}

func TestCustomFieldsOfARequest(t *testing.T) {
	good := given("Cost centre", "4711", "Owner", "a@example.com")
	for name, tt := range map[string]struct {
		door   string
		values []FieldValue
		cause  error
		says   string
		want   []FieldValue
	}{
		"all that is mandatory": {"console", good, nil, "", []FieldValue{{1, "Cost centre", "4711"}, {4, "Owner", "a@example.com"}}},
		"by number, in any sequence": {"scm", []FieldValue{{Number: 6, Value: "test"}, {Number: 4, Value: "a@example.com"}, {Number: 1, Value: "4711"}}, nil, "",
			[]FieldValue{{1, "Cost centre", "4711"}, {4, "Owner", "a@example.com"}, {6, "Environment", "test"}}},
		"the number counts":               {"zerossl", []FieldValue{{Number: 4, Name: "Rack", Value: "a@example.com"}}, nil, "", []FieldValue{{4, "Owner", "a@example.com"}}},
		"another door":                    {"zerossl", given("Owner", "a@example.com"), nil, "", []FieldValue{{4, "Owner", "a@example.com"}}},
		"missing at its door":             {"console", given("Owner", "a@example.com"), ErrMissingField, `the custom field "Cost centre" is mandatory; give it: 3 to 8 characters on one line`, nil},
		"missing under the profile":       {"zerossl", nil, ErrMissingField, `the custom field "Owner" is mandatory; give it: a plain e-mail address`, nil},
		"empty is missing":                {"console", append(given("Cost centre", ""), good[1]), ErrMissingField, `"Cost centre" is mandatory`, nil},
		"empty and not mandatory":         {"console", append(given("Rack", ""), good...), nil, "", []FieldValue{{1, "Cost centre", "4711"}, {4, "Owner", "a@example.com"}}},
		"unknown":                         {"console", append(given("Colour", "red"), good...), ErrUnknownField, `no custom field "Colour"; known are Cost centre, Remarks`, nil},
		"unknown, empty":                  {"console", append(given("Colour", ""), good...), ErrUnknownField, `no custom field "Colour"`, nil},
		"unknown by number":               {"console", append([]FieldValue{{Number: 99, Name: "Rack", Value: "1"}}, good...), ErrUnknownField, "number 99", nil},
		"in other letters":                {"console", append(given("rack", "1"), good...), ErrUnknownField, `"rack"`, nil},
		"twice":                           {"console", append(given("Rack", "1", "Rack", "2"), good...), ErrRepeatedField, `"Rack" is given twice`, nil},
		"twice, by name and number":       {"console", append([]FieldValue{{Name: "Rack", Value: "1"}, {Number: 3, Value: "1"}}, good...), ErrRepeatedField, "twice", nil},
		"ACME is not asked":               {"acme", nil, nil, "", nil},
		"a door that nobody has heard of": {"", given("Owner", "a@example.com"), nil, "", []FieldValue{{4, "Owner", "a@example.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, fielded(t))
			got, err := p.CustomFields(tt.door, tt.values)
			r := goodRequest(t, "www.example.com")
			r.Requester.Door, r.CustomFields = tt.door, tt.values
			_, refusal := p.Decide(r)
			if tt.cause == nil {
				if err != nil || refusal != nil || !slices.Equal(got, tt.want) {
					t.Errorf("%+v, %v; Decide: %v", got, err, refusal)
				}
				if again, err := p.CustomFields(tt.door, got); err != nil || !slices.Equal(again, got) {
					t.Errorf("what was taken is not taken again: %+v, %v", again, err)
				}
				return
			}
			wantProblem(t, err, problem.Malformed, tt.says)
			wantProblem(t, refusal, problem.Malformed, tt.says)
			if !errors.Is(err, tt.cause) {
				t.Errorf("a door could not tell what is wrong: %v", err)
			}
			r.Accepted = true // a definition that changed later
			if _, err := p.Decide(r); err != nil {
				t.Errorf("a request that was taken before is asked again: %v", err)
			}
		})
	}
}

func TestFieldsConfig(t *testing.T) {
	many := make([]Field, MaxFields+1)
	for i := range many {
		many[i] = Field{Number: int32(i + 1), Name: fmt.Sprintf("field %d", i)}
	}
	options := make([]string, MaxOptions+1)
	for i := range options {
		options[i] = fmt.Sprint(i)
	}
	one := func(change func(*Field)) []Field {
		f := Field{Number: 1, Name: "Owner"}
		change(&f)
		return []Field{f}
	}
	for name, tt := range map[string]struct {
		list  []Field
		field string
		says  string
	}{
		"no number":              {one(func(f *Field) { f.Number = 0 }), "number", "1 to 2147483647"},
		"a number twice":         {[]Field{{Number: 1, Name: "a"}, {Number: 1, Name: "b"}}, "number", "another custom field"},
		"no name":                {one(func(f *Field) { f.Name = "" }), "name", "printable"},
		"a name with a blank":    {one(func(f *Field) { f.Name = "Owner " }), "name", "blanks"},
		"a name with a newline":  {one(func(f *Field) { f.Name = "a\nb" }), "name", "printable"},
		"a name that ends early": {one(func(f *Field) { f.Name = "a=b" }), "name", "NAME=VALUE"},
		"a long name":            {one(func(f *Field) { f.Name = strings.Repeat("x", 257) }), "name", "256"},
		"a name twice":           {[]Field{{Number: 1, Name: "Owner"}, {Number: 2, Name: "OWNER"}}, "name", "another custom field"},
		"unknown type":           {one(func(f *Field) { f.Type = "colour" }), "type", "known are text, multiline, number, email, date, option"},
		"too long":               {one(func(f *Field) { f.MaxLength = 257 }), "max_length", "1 to 256"},
		"negative length":        {one(func(f *Field) { f.MaxLength = -1 }), "max_length", "1 to 256"},
		"least over most":        {one(func(f *Field) { f.MinLength, f.MaxLength = 5, 4 }), "min_length", "max_length (4)"},
		"a length of a date":     {one(func(f *Field) { f.Type, f.MaxLength = FieldDate, 10 }), "max_length", "leave it out"},
		"a length of an option":  {one(func(f *Field) { f.Type, f.Options, f.MinLength = FieldOption, []string{"a"}, 1 }), "min_length", "leave it out"},
		"no options":             {one(func(f *Field) { f.Type = FieldOption }), "options", "1 to 100"},
		"too many options":       {one(func(f *Field) { f.Type, f.Options = FieldOption, options }), "options", "1 to 100"},
		"an option twice":        {one(func(f *Field) { f.Type, f.Options = FieldOption, []string{"a", "a"} }), "options", "twice"},
		"an empty option":        {one(func(f *Field) { f.Type, f.Options = FieldOption, []string{""} }), "options", "printable"},
		"options of a text":      {one(func(f *Field) { f.Options = []string{"a"} }), "options", "type: option"},
		"mandatory for ACME":     {one(func(f *Field) { f.Mandatory = []string{"acme"} }), "mandatory", "an ACME order cannot carry custom fields"},
		"an unknown door":        {one(func(f *Field) { f.Mandatory = []string{"window"} }), "mandatory", "those are console, scm, zerossl"},
		"too many":               {many, "name", "at most 100"},
	} {
		f, err := NewFields(tt.list, someDoors)
		fe, ok := errors.AsType[*FieldError](err)
		if !ok || f != nil || fe.Field != tt.field || !strings.Contains(fe.Reason, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewFields([]Field{{}, {Name: " "}}, nil); len(err.(interface{ Unwrap() []error }).Unwrap()) < 4 {
		t.Errorf("not every fault is told of: %v", err)
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"a field that is not there":  {func(c *Config) { c.MandatoryFields = []string{"Colour"} }, "known are Cost centre"},
		"no fields":                  {func(c *Config) { c.Fields = nil }, "this gateway has none"},
		"the gateway's own":          {func(c *Config) { f := c.Fields; *c = own(); c.Fields, c.MandatoryFields = f, []string{"Owner"} }, "own certificate"},
		"a gateway with ACME alone":  {func(c *Config) { c.Fields, _ = NewFields([]Field{{Number: 1, Name: "Owner"}}, nil) }, "no door of this gateway asks"},
		"a name in other characters": {func(c *Config) { c.MandatoryFields = []string{"owner"} }, "no custom field"},
	} {
		cfg := fielded(t)
		tt.change(&cfg)
		_, err := New(cfg)
		if ce, ok := errors.AsType[*ConfigError](err); !ok || ce.Field != "mandatory_fields" || !strings.Contains(ce.Reason, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFieldsAreNoPartOfTheHash: they are asked for when a request is made, and nothing of them is issued.
func TestFieldsAreNoPartOfTheHash(t *testing.T) {
	if mustNew(t, fielded(t)).Hash() != mustNew(t, basic()).Hash() {
		t.Error("custom fields are in the hash")
	}
}

func TestRemainingFields(t *testing.T) {
	p := mustNew(t, fielded(t))
	old := []FieldValue{{1, "Cost centre", "4711"}, {3, "Shelf", "12"}, {6, "Environment", "staging"}, {42, "Gone", "x"}}
	got := p.Remaining(old)
	if want := []FieldValue{{1, "Cost centre", "4711"}, {3, "Shelf", "12"}}; !slices.Equal(got, want) || len(old) != 4 || old[3].Number != 42 {
		t.Errorf("%+v of %+v", got, old)
	}
}

func TestFieldsAccessors(t *testing.T) {
	f := mustFields(t, someFields())
	if list := f.List(); len(list) != 6 || list[0].Number != 1 || list[5].Name != "Environment" || list[1].MaxLength != MaxFieldValue || list[0].Type != FieldText {
		t.Errorf("listed %+v", list)
	}
	var none *Fields
	if _, ok := none.ByName("Owner"); ok || none.List() != nil {
		t.Error("nothing has a field")
	}
	p := mustNew(t, fielded(t))
	if !p.Demands("console", 1) || p.Demands("zerossl", 1) || p.Demands("acme", 4) || !p.Demands("zerossl", 4) || p.Demands("console", 99) || p.Fields() == nil {
		t.Error("what is mandatory where is wrong")
	}
}
