package scm

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// usDate is how dates look unless the parameter dateFormat asks for something else.
const usDate = "01/02/2006"

// dateForm is the layout for a value of dateFormat, a name or a pattern in any letter case.
func dateForm(asked string) (layout string, err error) {
	if asked == "" {
		return usDate, nil
	}
	for _, f := range []struct{ name, pattern, layout string }{
		{"ISO", "yyyy-MM-dd", "2006-01-02"},
		{"EU", "dd.MM.yyyy", "02.01.2006"},
		{"US", "MM/dd/yyyy", usDate},
		{"UK", "dd/MM/yyyy", "02/01/2006"},
		{"JP", "yyyy/MM/dd", "2006/01/02"},
		{"ISO_HMS", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", "2006-01-02T15:04:05.000Z"},
		{"EU_HMS", "dd.MM.yyyy HH:mm:ss", "02.01.2006 15:04:05"},
		{"US_HMS", "MM/dd/yyyy HH:mm:ss", "01/02/2006 15:04:05"},
		{"UK_HMS", "dd/MM/yyyy HH:mm:ss", "02/01/2006 15:04:05"},
		{"JP_HMS", "yyyy/MM/dd HH:mm:ss", "2006/01/02 15:04:05"},
	} {
		if strings.EqualFold(asked, f.name) || strings.EqualFold(asked, f.pattern) {
			return f.layout, nil
		}
	}
	return "", problem.Wrap(rest.ErrValue, problem.Malformed, "dateFormat: give ISO, EU, US, UK or JP, or one of these with _HMS")
}
