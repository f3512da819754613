package policy

import (
	"fmt"
	"slices"
	"strings"
)

// checkFields holds a request to the custom fields of its door and profile. They are asked for once: a request that was taken
// before a definition changed is not refused for it later, because nothing of them goes into a certificate.
func (p *Profile) checkFields(r Request, _ *Decision) error {
	if r.Accepted {
		return nil
	}
	_, err := p.CustomFields(r.Requester.Door, r.CustomFields)
	return err
}

func foundFields(_ *Profile, r Request, _ *Decision) string {
	var given []string
	for _, v := range r.CustomFields {
		name := v.Name
		if name == "" {
			name = fmt.Sprintf("number %d", v.Number)
		}
		given = append(given, fmt.Sprintf("%.300q", name))
	}
	if len(given) == 0 {
		return "none"
	}
	return strings.Join(given, ", ")
}

// wantedFields names each field with what it takes, those that must be given first.
func wantedFields(p *Profile, r Request) string {
	var must, may []string
	for _, f := range p.fields.List() {
		text := fmt.Sprintf("%q (%s)", f.Name, f.takes())
		switch {
		case p.demands(r.Requester.Door, f):
			must = append(must, text)
		case r.Requester.Door == "" && len(f.Mandatory) > 0: // whoever asks: as the definition says
			may = append(may, text+", mandatory at "+list(f.Mandatory))
		default:
			may = append(may, text)
		}
	}
	var parts []string
	if len(must) > 0 {
		parts = append(parts, strings.Join(must, "; "))
	}
	if len(may) > 0 {
		parts = append(parts, "perhaps "+strings.Join(may, "; "))
	}
	if len(parts) == 0 {
		return "none: no custom fields are configured"
	}
	return strings.Join(parts, "; ")
}

// setFields reads the deployment's custom fields, and which of them the profile demands.
func (p *Profile) setFields(c *checker, cfg Config) {
	p.fields = cfg.Fields
	for _, name := range cfg.MandatoryFields {
		f, ok := p.fields.ByName(name)
		switch {
		case p.own:
			c.refuse("mandatory_fields", "nobody asks for the gateway's own certificate; leave it out")
		case !ok:
			c.refuse("mandatory_fields", "there is no custom field %q; %s", name, p.fields.names())
		case !slices.Contains(p.mandatoryFields, f.Number):
			p.mandatoryFields = append(p.mandatoryFields, f.Number)
		}
	}
	if len(p.mandatoryFields) > 0 && len(p.fields.doors) == 0 {
		c.refuse("mandatory_fields", "no door of this gateway asks for custom fields; leave it out")
	}
}
