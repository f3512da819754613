package scm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// location is a place where a certificate is used. People and programs note all of them down, which SCM calls custom.
type location struct {
	ID           int               `json:"id"`
	LocationType string            `json:"locationType"`
	Name         string            `json:"name"`
	Details      map[string]string `json:"details"`
}

func toLocation(l ra.Location) location {
	details := l.Details
	if details == nil {
		details = map[string]string{}
	}
	return location{ID: l.ID, LocationType: "CUSTOM", Name: l.Name, Details: details}
}

func (s *Server) locations(c *call) error {
	e, err := c.enrollment("sslId")
	if err != nil {
		return missing(err)
	}
	list := []location{}
	for _, l := range e.Locations {
		list = append(list, toLocation(l))
	}
	return c.answer(list)
}

// locationOf reads which location the path names.
func (c *call) locationOf() (ra.ID, int, error) {
	id, err := c.id("sslId")
	if err != nil {
		return 0, 0, missing(err)
	}
	n, err := strconv.ParseInt(c.args["locationId"], 10, 32)
	if err != nil || n < 1 {
		// The certificate is asked for first, as with a number.
		if _, err := c.enrollment("sslId"); err != nil {
			return 0, 0, missing(err)
		}
		return 0, 0, missing(problem.New(problem.NotFound, "there is no location %s", quoted(c.args["locationId"])))
	}
	return id, int(n), nil
}

func (s *Server) location(c *call) error {
	id, n, err := c.locationOf()
	if err != nil {
		return err
	}
	l, err := s.Registrar.Location(c.ctx, c.caller, id, n)
	if err != nil {
		return missing(err)
	}
	return c.answer(toLocation(l))
}

// locationDetails reads a body with at least one entry.
func (c *call) locationDetails() (map[string]string, error) {
	o, err := c.body()
	if err != nil {
		return nil, err
	}
	o.Require("details")
	details := o.TextMap("details", ra.MaxLocationDetails)
	if len(details) == 0 {
		o.Refuse("details", "give at least one entry")
	}
	return details, o.Err()
}

func (s *Server) addLocation(c *call) error {
	id, err := c.id("sslId")
	if err != nil {
		return missing(err)
	}
	details, err := c.locationDetails()
	if err != nil {
		return err
	}
	l, err := s.Registrar.Locate(c.ctx, c.caller, id, ra.Location{Details: details})
	if err != nil {
		return missing(err)
	}
	c.w.Header().Set("Location", s.PublicURL+strings.TrimSuffix(c.r.URL.EscapedPath(), "/")+"/"+strconv.Itoa(l.ID))
	return c.done(http.StatusCreated)
}

// setLocation puts other details in the place of a location's. Its name, which only others here can give, stays.
func (s *Server) setLocation(c *call) error {
	id, n, err := c.locationOf()
	if err != nil {
		return err
	}
	details, err := c.locationDetails()
	if err != nil {
		return err
	}
	old, err := s.Registrar.Location(c.ctx, c.caller, id, n)
	if err == nil {
		_, err = s.Registrar.Locate(c.ctx, c.caller, id, ra.Location{ID: n, Name: old.Name, Details: details})
	}
	if err != nil {
		return missing(err)
	}
	return c.done(http.StatusOK)
}

func (s *Server) removeLocation(c *call) error {
	id, n, err := c.locationOf()
	if err != nil {
		return err
	}
	if err := s.Registrar.Unlocate(c.ctx, c.caller, id, n); err != nil {
		return missing(err)
	}
	return c.done(http.StatusNoContent)
}
