package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// certLocationCmd holds the commands about the places where a certificate is used.
type certLocationCmd struct {
	List   locationListCmd   `cmd:"" help:"List the locations of an enrollment."`
	Add    locationAddCmd    `cmd:"" help:"Add a location."`
	Set    locationSetCmd    `cmd:"" help:"Put another name and other details in place of a location's."`
	Remove locationRemoveCmd `cmd:"" help:"Remove a location."`
}

// String is a location on one line.
func (l locationView) String() string {
	words := []string{}
	if l.Name != "" {
		words = append(words, l.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(l.Details)) {
		words = append(words, key+"="+l.Details[key])
	}
	return strings.Join(words, ", ")
}

type locationListCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *locationListCmd) Run(ctx context.Context, s streams) error {
	var e enrollmentView
	if err := c.call(ctx, "GET", fmt.Sprintf("/enrollments/%d", c.ID), nil, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, append([]locationView{}, e.Locations...))
	}
	if len(e.Locations) == 0 {
		_, err := fmt.Fprintln(s.out, "no locations")
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tDETAILS")
	for _, l := range e.Locations {
		fmt.Fprintf(w, "%d\t%s\t%s\n", l.ID, l.Name, locationView{Details: l.Details})
	}
	return w.Flush()
}

// locationFlags describe a location.
type locationFlags struct {
	adminFlags
	Name   string   `help:"What people call it." placeholder:"TEXT"`
	Detail []string `help:"A detail; repeat it for more, up to 20." placeholder:"KEY=VALUE" sep:"none"`
}

func (f *locationFlags) put(ctx context.Context, s streams, path string) error {
	in := locationWord{Name: f.Name}
	for _, text := range f.Detail {
		key, value, ok := strings.Cut(text, "=")
		if _, twice := in.Details[key]; !ok || twice {
			return fmt.Errorf("--detail is %q; give KEY=VALUE, each key once", text)
		}
		if in.Details == nil {
			in.Details = map[string]string{}
		}
		in.Details[key] = value
	}
	var l locationView
	if err := f.call(ctx, "POST", path, in, &l); err != nil {
		return err
	}
	if f.JSON {
		return writeJSON(s.out, l)
	}
	_, err := fmt.Fprintf(s.out, "location %d: %s\n", l.ID, l)
	return err
}

type locationAddCmd struct {
	locationFlags
	ID int64 `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *locationAddCmd) Run(ctx context.Context, s streams) error {
	return c.put(ctx, s, fmt.Sprintf("/enrollments/%d/locations", c.ID))
}

type locationSetCmd struct {
	locationFlags
	ID       int64 `arg:"" name:"id" help:"The enrollment's number."`
	Location int   `arg:"" name:"location" help:"The location's number."`
}

func (c *locationSetCmd) Run(ctx context.Context, s streams) error {
	return c.put(ctx, s, fmt.Sprintf("/enrollments/%d/locations/%d", c.ID, c.Location))
}

type locationRemoveCmd struct {
	adminFlags
	ID       int64 `arg:"" name:"id" help:"The enrollment's number."`
	Location int   `arg:"" name:"location" help:"The location's number."`
}

func (c *locationRemoveCmd) Run(ctx context.Context, s streams) error {
	if err := c.call(ctx, "POST", fmt.Sprintf("/enrollments/%d/locations/%d/remove", c.ID, c.Location), nil, &struct{}{}); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, struct{}{})
	}
	_, err := fmt.Fprintf(s.out, "removed location %d of enrollment %d\n", c.Location, c.ID)
	return err
}
