package scm

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// dcvItem is an item of the list of validations.
type dcvItem struct {
	Domain         string `json:"domain"`
	Status         string `json:"dcvStatus"`
	Method         string `json:"dcvMethod,omitempty"` // of the proof
	OrderStatus    string `json:"dcvOrderStatus"`
	OrderMethod    string `json:"dcvOrderMethod,omitempty"`
	ExpirationDate string `json:"expirationDate,omitempty"`
}

// dcvFilters are what the list can be narrowed by. An empty one is none.
var dcvFilters = []string{"domain", "org", "department", "dcvStatus", "orderStatus", "expiresIn"}

// maxExpiresIn is in how many days a proof can be asked for that ends by then.
const maxExpiresIn = 100_000

// validations lists domains by how they are validated.
func (s *Server) validations(c *call) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	q, none, err := c.dcvQuery()
	if err != nil {
		return err
	}
	var found ra.FoundDomains
	if !none {
		q.Offset, q.Limit = page.Position, page.Size
		if found, err = s.Domains.Search(c.ctx, c.caller, q); err != nil {
			return err
		}
	}
	items := make([]dcvItem, 0, len(found.Domains))
	for _, d := range found.Domains {
		items = append(items, c.dcvItem(d))
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(found.Total, 10))
	return c.answer(items)
}

func (c *call) dcvItem(d *ra.Domain) dcvItem {
	state, stage := c.dcvState(d), d.Stage(c.s.Now())
	item := dcvItem{Domain: d.Name.Value(), Status: state.Status, OrderStatus: state.OrderStatus, OrderMethod: orderMode(d, stage)}
	if d.Proof != nil {
		_, until := c.s.Domains.Status(d)
		item.Method, item.ExpirationDate = dcvModes[d.Proof.Method], c.dcvDay(until)
	}
	return item
}

// dcvQuery reads what is asked for. none says that nothing can be like that.
func (c *call) dcvQuery() (q ra.DomainQuery, none bool, err error) {
	for _, name := range dcvFilters {
		if len(c.query[name]) > 1 { // all but one would be ignored
			return q, false, wrongValue("%s: it is there more than once", name)
		}
	}
	q.Part = strings.TrimPrefix(strings.TrimSpace(c.query.Get("domain")), "*.")
	if len(q.Part) > maxDomainText {
		return q, false, wrongValue("domain: it is longer than a name can be")
	}
	if q.Org, none, err = c.dcvOrg(); err != nil || none {
		return q, none, err
	}
	if q.Status, err = parseLabel("dcvStatus", c.query.Get("dcvStatus"), dcvStatuses); err != nil {
		return q, false, err
	}
	if q.Stage, err = parseLabel("orderStatus", c.query.Get("orderStatus"), dcvOrders); err != nil {
		return q, false, err
	}
	days, err := rest.QueryInt(c.query, "expiresIn", 1, maxExpiresIn)
	if err == nil && days > 0 {
		q.ExpiresBefore = c.s.Now().Add(time.Duration(days) * 24 * time.Hour)
	}
	return q, false, err
}

// dcvOrg reads whose list is asked for; zero: everybody's. A department is an organisation below another one, and no list at all if
// it is not below the one that is asked for with it.
func (c *call) dcvOrg() (org auth.OrgID, none bool, err error) {
	var orgs [2]auth.OrgID
	for i, name := range []string{"org", "department"} {
		number, err := rest.QueryInt(c.query, name, 1, maxInt32)
		if err != nil {
			return 0, false, err
		}
		if number == 0 {
			continue
		}
		if orgs[i], err = c.organisation(number); err != nil {
			return 0, false, err
		}
	}
	switch org, department := orgs[0], orgs[1]; {
	case department == 0:
		return org, false, nil
	case org == 0:
		return department, false, nil
	default:
		return department, !slices.Contains(c.s.Organisations.Below(org), department), nil
	}
}

// parseLabel reads a word of SCM's, as a constant or as a label, in any letter case: NOT_VALIDATED, Not validated. Empty is none.
func parseLabel[T ~string](name, text string, words map[T]string) (T, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), " ", "_")
	if text == "" {
		return "", nil
	}
	var known []string
	for value, word := range words {
		if strings.EqualFold(word, text) {
			return value, nil
		}
		known = append(known, word)
	}
	slices.Sort(known)
	return "", problem.Wrap(rest.ErrValue, problem.Malformed, "%s: give one of %s", name, strings.Join(known, ", "))
}
