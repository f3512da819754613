package scm

import (
	"reflect"
	"testing"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestCustomFieldDefinitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const at = "/api/customField/v2"
	w.goldens([]exchange{
		{"customfield-list", "rex", "GET", at, ""},
		{"customfield-list-ssl", "rex", "GET", at + "/?certType=ssl", ""},
		{"customfield-list-smime", "rex", "GET", at + "?certType=SMIME", ""},
		{"customfield-list-unknown-type", "rex", "GET", at + "?certType=TLS", ""},
		{"customfield-get", "aud", "GET", at + "/54", ""},
		{"customfield-get-absent", "ada", "GET", at + "/4711", ""},
		{"customfield-get-no-number", "ada", "GET", at + "/owner", ""},
		{"customfield-add", "ada", "POST", at, `{"name":"test","certType":"ssl","state":"ACTIVE","input":{"type":"TEXT_SINGLE_LINE"},"mandatories":[]}`},
		{"customfield-set", "ada", "PUT", at, `{"id":54,"name":"test","certType":"ssl"}`},
		{"customfield-delete", "ada", "DELETE", at + "/54", ""},
	})
	w.Fields = nil
	if rec := w.call("ada", "GET", at, "", 200); rec.Body.String() != "[]" {
		t.Errorf("without fields there are %s", rec.Body)
	}
	w.call("ada", "GET", at+"/54", "", 404)
}

// TestFieldDefinition: each type and door in SCM's words.
func TestFieldDefinition(t *testing.T) {
	t.Parallel()
	for kind, word := range map[policy.FieldType]string{
		policy.FieldText: "TEXT_SINGLE_LINE", policy.FieldMultiline: "TEXT_MULTI_LINE", policy.FieldNumber: "NUMBER", policy.FieldEmail: "EMAIL",
		policy.FieldDate: "DATE", policy.FieldOption: "TEXT_OPTION",
	} {
		f := policy.Field{Number: 1, Name: "n", Type: kind}
		if kind == policy.FieldOption {
			f.Options = []string{"a", "b"}
		}
		fields, err := policy.NewFields([]policy.Field{f}, nil)
		must(t, err)
		want := fieldDefinition{ID: 1, Name: "n", CertType: "ssl", State: "ACTIVE", Input: fieldInput{word, f.Options}, Mandatories: []string{}}
		if got := toFieldDefinition(fields.List()[0]); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, want %+v", kind, got, want)
		}
	}
	all := []string{string(ra.DoorConsole), string(ra.DoorSCM), string(ra.DoorACME)}
	if got := toFieldDefinition(policy.Field{Mandatory: all}).Mandatories; !reflect.DeepEqual(got, []string{"ADMIN_UI", "REST_API"}) {
		t.Errorf("mandatory at %v is %v", all, got)
	}
}
