package auth

// Where are the organisations in which a caller may do something, by number, those that were closed included. Values are shared and
// not to be changed.
func (d *Directory) Where(c Caller, a Action) (list []Org) {
	t := d.current.Load()
	for _, o := range t.all {
		if t.may(c, a, o.ID) == nil {
			list = append(list, *o)
		}
	}
	return list
}
