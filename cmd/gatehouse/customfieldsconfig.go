package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// customFieldConfig is policy.Field as it is written (docs/profiles.md).
type customFieldConfig struct {
	Number    int32    `yaml:"number"`     // above zero, unique, never changed and never given to another field
	Name      string   `yaml:"name"`       // unique; for people and requests
	Type      string   `yaml:"type"`       // text (default), multiline, number, email, date or option
	MinLength int      `yaml:"min_length"` // in characters; default 1
	MaxLength int      `yaml:"max_length"` // the same; default 256, which is the most
	Options   []string `yaml:"options"`    // of type option
	Mandatory []string `yaml:"mandatory"`  // doors at which every request must have it
}

// fieldDoors are the doors that can ask for custom fields.
func fieldDoors() []string { return []string{string(ra.DoorConsole), string(ra.DoorSCM)} }

// customFields checks the definitions; every fault is reported with its line.
func (c *fileConfig) customFields() (*policy.Fields, error) {
	var list []policy.Field
	for _, f := range c.CustomFields {
		list = append(list, policy.Field{
			Number: f.Number, Name: f.Name, Type: policy.FieldType(f.Type), MinLength: f.MinLength, MaxLength: f.MaxLength,
			Options: f.Options, Mandatory: f.Mandatory,
		})
	}
	fields, err := policy.NewFields(list, fieldDoors())
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fields, err
	}
	var faults []error
	for _, fault := range joined.Unwrap() {
		path := "custom_fields"
		if fe, ok := errors.AsType[*policy.FieldError](fault); ok {
			path = fmt.Sprintf("custom_fields[%d].%s", fe.Index, fe.Field)
		}
		faults = append(faults, c.source.at(path, fault))
	}
	return nil, errors.Join(faults...)
}

// parseFields reads NAME=VALUE flags; a name cannot have an equals sign in it, a value can.
func parseFields(flags []string) ([]policy.FieldValue, error) {
	var list []policy.FieldValue
	for _, text := range flags {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--field %q is not NAME=VALUE", text)
		}
		list = append(list, policy.FieldValue{Name: name, Value: value})
	}
	return list, nil
}
