package scm

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// statuses is the one table from what an enrollment is to SCM's word for it. Each word stands for one status, so that a filter by it
// is exact. Init is SCM's first state, before it asks anybody to approve, which is where a request waits for its names to
// be validated.
var statuses = []struct {
	status ra.Status
	label  string
}{
	{ra.StatusValidating, "Init"},
	{ra.StatusWaiting, "Requested"},
	{ra.StatusApproved, "Approved"},
	{ra.StatusRequested, "Applied"},
	{ra.StatusIssued, "Issued"},
	{ra.StatusExpired, "Expired"},
	{ra.StatusRevoked, "Revoked"},
	{ra.StatusDeclined, "Declined"},
	{ra.StatusFailed, "Rejected"},
}

// neverHad are SCM's other words, which can be asked for and find nothing.
var neverHad = []string{"Invalid", "Replaced", "SA Approved", "SAApproved", "Unmanaged"}

// statusLabel is SCM's word for a status; a status that the table lacks passes for no certificate.
func statusLabel(status ra.Status) string {
	for _, s := range statuses {
		if s.status == status {
			return s.label
		}
	}
	return "Rejected"
}

// parseStatus reads a label or constant in any letter case. none says that nothing can have it.
func parseStatus(word string) (status ra.Status, none bool, err error) {
	for _, s := range statuses {
		if strings.EqualFold(word, s.label) {
			return s.status, false, nil
		}
	}
	for _, w := range neverHad {
		if strings.EqualFold(word, w) {
			return "", true, nil
		}
	}
	return "", false, problem.Wrap(rest.ErrValue, problem.Malformed, "status: there is no status %s", quoted(word))
}
