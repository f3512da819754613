package auth

// A customer is an organisation without a parent, with all below it: what SCM's customerUri names. Logins are unique in it.

// Customer is the customer that an organisation belongs to; an organisation that is not known is its own.
func (d *Directory) Customer(id OrgID) OrgID {
	t := d.current.Load()
	if o := t.byID[id]; o != nil {
		if above, err := t.above(o); err == nil && len(above) > 0 {
			return above[len(above)-1].ID
		}
	}
	return id
}

// upwards is an organisation and those above it, whose administrators look after its principals.
func (d *Directory) upwards(id OrgID) []OrgID {
	t := d.current.Load()
	list := []OrgID{id}
	if o := t.byID[id]; o != nil {
		above, _ := t.above(o) // without a parent it does not work
		for _, a := range above {
			list = append(list, a.ID)
		}
	}
	return list
}

// customerBySlug finds a customer; "" is that of the default organisation. An organisation that has been given a parent in the
// configuration meanwhile is still the customer of the principals that were made before.
func (d *Directory) customerBySlug(slug string) (OrgID, bool) {
	if slug == "" {
		return d.Customer(d.Default().ID), true
	}
	o := d.current.Load().bySlug[slug]
	if o == nil {
		return 0, false
	}
	return o.ID, true
}

// within reports whether an organisation is another one or below it.
func (t *tree) within(o *Org, other OrgID) bool {
	if o.ID == other {
		return true
	}
	above, err := t.above(o)
	if err != nil {
		return false
	}
	for _, a := range above {
		if a.ID == other {
			return true
		}
	}
	return false
}
