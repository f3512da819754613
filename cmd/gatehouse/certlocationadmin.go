package main

import (
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

type locationView struct {
	ID      int               `json:"id"`
	Name    string            `json:"name,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// locationWord is a location that is added or changed.
type locationWord struct {
	Name    string            `json:"name,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// locationPut adds a location, or changes the one in the path.
func (a *admin) locationPut(caller auth.Caller, r *http.Request) (any, error) {
	var in locationWord
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	location, err := pathID(r, "location")
	switch {
	case err != nil:
		return nil, err
	case r.PathValue("location") != "" && location == 0:
		return nil, problem.New(problem.NotFound, "enrollment %d has no location 0", id)
	}
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	l, err := a.registrar.Locate(r.Context(), caller, ra.ID(id), ra.Location{ID: location, Name: in.Name, Details: in.Details})
	if err != nil {
		return nil, err
	}
	return locationView(l), nil
}

func (a *admin) locationGet(caller auth.Caller, r *http.Request) (any, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	location, err := pathID(r, "location")
	if err != nil {
		return nil, err
	}
	l, err := a.registrar.Location(r.Context(), caller, ra.ID(id), location)
	if err != nil {
		return nil, err
	}
	return locationView(l), nil
}

func (a *admin) locationRemove(caller auth.Caller, r *http.Request) (any, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	location, err := pathID(r, "location")
	if err == nil {
		err = noBody(r)
	}
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.registrar.Unlocate(r.Context(), caller, ra.ID(id), location)
}
