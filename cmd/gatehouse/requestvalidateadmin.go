package main

import (
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func (a *admin) requestValidate(caller auth.Caller, r *http.Request) (any, error) {
	var in validationWord
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	v, err := in.validation()
	if err != nil {
		return nil, err
	}
	return a.decided(r, func(id ra.ID) (*ra.Enrollment, error) { return a.registrar.Validate(r.Context(), caller, id, v) })
}

func (a *admin) requestCancel(caller auth.Caller, r *http.Request) (any, error) {
	var in struct{}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	return a.decided(r, func(id ra.ID) (*ra.Enrollment, error) { return a.registrar.Cancel(r.Context(), caller, id) })
}

// decided does something to the request whose number is in the path, and shows it.
func (a *admin) decided(r *http.Request, do func(ra.ID) (*ra.Enrollment, error)) (any, error) {
	id := 0
	if err := number(r.PathValue("id"), "id", &id); err != nil {
		return nil, err
	}
	e, err := do(ra.ID(id))
	if err != nil {
		return nil, err
	}
	return a.viewRequest(e), nil
}

// validation reads what was said.
func (w validationWord) validation() (v ra.Validation, err error) {
	if w.Method != "" {
		if v.Method, err = requestMethod("method", w.Method); err != nil {
			return v, err
		}
	}
	v.Methods = make(map[identifier.Identifier]dcv.Method, len(w.Methods))
	for name, word := range w.Methods {
		id, err := identifier.ParseDNS(name)
		if err != nil {
			if id, err = identifier.ParseIP(name); err != nil {
				return v, problem.New(problem.Malformed, "name: %q is neither a DNS name nor an address", name)
			}
		}
		if v.Methods[id], err = requestMethod("name: "+name, word); err != nil {
			return v, err
		}
	}
	return v, nil
}

// requestMethod finds a method by its word on the command line, or by that in profiles.
func requestMethod(field, word string) (dcv.Method, error) {
	m, ok := requestMethods[word]
	if !ok && dcv.Method(word).Published() {
		m, ok = dcv.Method(word), true
	}
	if !ok {
		return "", problem.New(problem.Malformed, "%s: %q is no method by which names of a request are validated; give one of %s", field, word, methodWords())
	}
	return m, nil
}

// viewChallenges is what the names of a request are validated by, and what the last looks saw.
func viewChallenges(e *ra.Enrollment) (list []requestChallengeView) {
	for _, c := range e.Challenges {
		v := requestChallengeView{Name: c.Identifier.Value(), Method: string(c.Method), Validated: c.Validated}
		if c.Method != "" {
			v.Location, v.Record, v.Value = dcv.Location(c.Method, c.Identifier, c.Publication), recordOf(c.Method), c.Publication.Value
		}
		if f := c.Failed; f != nil {
			v.Failed = &requestFailureView{failureView: failureView{Kind: f.Kind.String(), Detail: f.Detail, At: f.At, Record: shownRecord(f.Record)}}
			if s := f.Finding; s != nil {
				v.Failed.Finding = &findingView{Found: s.Found, Correct: s.Correct, Target: s.Target, Trouble: string(s.Trouble), Status: s.Status}
			}
		}
		list = append(list, v)
	}
	return list
}
