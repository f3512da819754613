package ra

import (
	"context"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxLocations is how many an enrollment can have.
	MaxLocations = 100
	// MaxLocationDetails is how many details a location can have.
	MaxLocationDetails = 20
	// maxLocationName, maxDetailKey and maxDetailValue are lengths in characters.
	maxLocationName = 128
	maxDetailKey    = 64
	maxDetailValue  = 256
	// maxLocationsSize bounds all locations of an enrollment together, in octets of text: they are in its record, which is read
	// with every list.
	maxLocationsSize = 32 << 10
)

// Location is a place where a certificate is used, as people have noted it down.
type Location struct {
	ID      int // within its enrollment, from 1; never used again
	Name    string
	Details map[string]string
}

func (l Location) equal(m Location) bool {
	return l.ID == m.ID && l.Name == m.Name && maps.Equal(l.Details, m.Details)
}

func (l Location) size() int {
	n := len(l.Name)
	for k, v := range l.Details {
		n += len(k) + len(v)
	}
	return n
}

func (l Location) check() error {
	if err := checkLine("the name of a location", l.Name, maxLocationName); err != nil {
		return err
	}
	switch {
	case l.Name == "" && len(l.Details) == 0:
		return problem.New(problem.Malformed, "a location has a name or at least one of its details")
	case len(l.Details) > MaxLocationDetails:
		return problem.New(problem.Malformed, "the location has %d details; at most %d are kept", len(l.Details), MaxLocationDetails)
	}
	for _, key := range slices.Sorted(maps.Keys(l.Details)) {
		if n := utf8.RuneCountInString(key); n == 0 || n > maxDetailKey {
			return problem.New(problem.Malformed, "a detail of the location has a key of %d characters; give 1 to %d", n, maxDetailKey)
		}
		if err := checkLine("the key of a detail", key, maxDetailKey); err != nil {
			return err
		}
		if err := checkLine("the detail "+key, l.Details[key], maxDetailValue); err != nil {
			return err
		}
	}
	return nil
}

// Locate adds a location to an enrollment (its ID is zero, and chosen here), or changes the one with its ID. The result is the
// location as it then stands. Durable in store and journal on return. Errors are as those of [Registrar.Update]; NotFound also
// for a location that there is not; Conflict for one that is too many.
func (r *Registrar) Locate(ctx context.Context, caller auth.Caller, id ID, l Location) (Location, error) {
	if err := l.check(); err != nil {
		return Location{}, err
	}
	l.Details = maps.Clone(l.Details)
	put, what := l, "location changed"
	if l.ID == 0 {
		what = "location added"
	}
	_, err := r.edit(ctx, caller, id, what, func(e *Enrollment) (any, error) {
		put = l
		e.Locations = slices.Clone(e.Locations)
		if put.ID == 0 {
			if len(e.Locations) == MaxLocations {
				return nil, problem.New(problem.Conflict, "enrollment %d has %d locations, and no more are kept; remove one first", id, MaxLocations)
			}
			e.LastLocation++
			put.ID = e.LastLocation
			e.Locations = append(e.Locations, put)
		} else {
			i := slices.IndexFunc(e.Locations, func(x Location) bool { return x.ID == put.ID })
			if i < 0 {
				return nil, noLocation(id, put.ID)
			}
			e.Locations[i] = put
		}
		size := 0
		for _, x := range e.Locations {
			size += x.size()
		}
		if size > maxLocationsSize {
			return nil, problem.New(problem.Conflict, "the locations of enrollment %d would have %d octets together; at most %d are kept", id, size, maxLocationsSize)
		}
		return nil, nil
	})
	return put, err
}

// Unlocate removes a location from an enrollment. Errors are as those of [Registrar.Locate].
func (r *Registrar) Unlocate(ctx context.Context, caller auth.Caller, id ID, location int) error {
	_, err := r.edit(ctx, caller, id, "location removed", func(e *Enrollment) (any, error) {
		i := slices.IndexFunc(e.Locations, func(x Location) bool { return x.ID == location })
		if i < 0 {
			return nil, noLocation(id, location)
		}
		e.Locations = slices.Delete(slices.Clone(e.Locations), i, i+1)
		return nil, nil
	})
	return err
}

// Location is one of an enrollment that the caller may view; NotFound if there is none.
func (r *Registrar) Location(ctx context.Context, caller auth.Caller, id ID, location int) (Location, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return Location{}, err
	}
	for _, l := range e.Locations {
		if l.ID == location {
			return l, nil
		}
	}
	return Location{}, noLocation(id, location)
}

func noLocation(id ID, location int) error {
	return problem.New(problem.NotFound, "enrollment %d has no location %d", id, location)
}
