package scm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// customFieldRoutes are of the definitions of custom fields.
func customFieldRoutes() []rest.Route[handler] {
	return []rest.Route[handler]{
		{Method: http.MethodGet, Pattern: "/", Handle: (*Server).fieldDefinitions},
		{Method: http.MethodGet, Pattern: "/{id}", Handle: (*Server).fieldDefinition},
		{Method: http.MethodPost, Pattern: "/", Handle: (*Server).changeFieldDefinition},
		{Method: http.MethodPut, Pattern: "/", Handle: (*Server).changeFieldDefinition},
		{Method: http.MethodDelete, Pattern: "/{id}", Handle: (*Server).changeFieldDefinition},
	}
}

// fieldDefinition is a custom field, all that is known of it.
type fieldDefinition struct {
	ID          int32      `json:"id"`
	Name        string     `json:"name"`
	CertType    string     `json:"certType"`
	State       string     `json:"state"`
	Input       fieldInput `json:"input"`
	Mandatories []string   `json:"mandatories"`
}

type fieldInput struct {
	Type    string   `json:"type"`
	Options []string `json:"options,omitempty"`
}

// toFieldDefinition says it in SCM's words. Every field that is configured is for certificates of TLS servers, and in force.
func toFieldDefinition(f policy.Field) fieldDefinition {
	d := fieldDefinition{ID: f.Number, Name: f.Name, CertType: "ssl", State: "ACTIVE", Input: fieldInput{fieldInputType(f.Type), f.Options}, Mandatories: []string{}}
	for _, door := range f.Mandatory {
		switch ra.Door(door) { // SCM has no words for others
		case ra.DoorConsole:
			d.Mandatories = append(d.Mandatories, "ADMIN_UI")
		case ra.DoorSCM:
			d.Mandatories = append(d.Mandatories, "REST_API")
		}
	}
	return d
}

// fieldInputType is SCM's word for a type.
func fieldInputType(t policy.FieldType) string {
	switch t {
	case policy.FieldMultiline:
		return "TEXT_MULTI_LINE"
	case policy.FieldNumber:
		return "NUMBER"
	case policy.FieldEmail:
		return "EMAIL"
	case policy.FieldDate:
		return "DATE"
	case policy.FieldOption:
		return "TEXT_OPTION"
	default: // FieldText, and what is new: a text in any case
		return "TEXT_SINGLE_LINE"
	}
}

func (s *Server) fieldDefinitions(c *call) error {
	list := []fieldDefinition{}
	switch kind := strings.ToUpper(c.query.Get("certType")); kind {
	case "", "SSL":
		for _, f := range s.Fields.List() {
			list = append(list, toFieldDefinition(f))
		}
	case "SMIME", "DEVICE", "CODESIGN":
	default:
		return wrongValue("certType: there are no certificates of type %s; give SSL", quoted(c.query.Get("certType")))
	}
	return c.answer(list)
}

func (s *Server) fieldDefinition(c *call) error {
	if n, err := strconv.ParseInt(c.args["id"], 10, 32); err == nil {
		if f, ok := s.Fields.ByNumber(int32(n)); ok {
			return c.answer(toFieldDefinition(f))
		}
	}
	return coded(http.StatusNotFound, codeFieldUnknown, problem.New(problem.NotFound, "there is no custom field %s", quoted(c.args["id"])))
}

// changeFieldDefinition refuses everybody: what a field means to requests that wait, and at all gateways, is up to the configuration.
func (s *Server) changeFieldDefinition(*call) error {
	return problem.New(problem.Unauthorized, "custom fields are defined in the gateway's configuration file (custom_fields) and nowhere else; have its operator change them there")
}
