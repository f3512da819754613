package scm

import (
	"crypto/x509"
	"strings"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// word is a value that SCM knows: as details shows it, and as it is written in SCM's older version.
type word struct{ label, constant string }

var installStatuses = [...]word{
	{notConfigured, "NONE"}, {"Not started", "NOT_STARTED"}, {"Key processing", "KEY_PROCESSING"}, {"Key and CSR ready", "KEY_READY"},
	{"Certificate processing", "CERT_PROCESSING"}, {"Installation scheduled", "SCHEDULED"}, {"Installation processing", "INSTALLING"},
	{"Action required", "ACTION_REQUIRED"}, {"Ready for install", "READY_FOR_INSTALL"}, {"Server restart required", "NEED_SERVER_RESTART"},
	{"Completed", "COMPLETED"}, {"Invalid configuration", "INVALID"},
}

var renewalStatuses = [...]word{
	{notScheduled, "NOT_SCHEDULED"}, {scheduled, "SCHEDULED"}, {"Started", "STARTED"}, {"Successful", "SUCCESSFUL"}, {"Failed", "FAILED"},
}

var requestWays = [...]word{
	{"Enrollment Form", "WEB_FORM"}, {viaClientAdmin, "CLIENT_ADMIN"}, {viaAPI, "API"}, {"Discovery", "DISCOVERY"}, {viaImport, "IMPORTED"},
	{"SCEP", "SCEP"}, {"CD Agent", "CD_AGENT"}, {"MS Agent", "MS_AGENT"}, {"MS CA", "MS_CA"}, {"Bulk Request", "BULK_REQUEST"}, {viaACME, "ACME"},
	{"EST", "EST"}, {"REST API", "REST"},
}

var discoveryStatuses = [...]word{{"NotDeployed", "NotDeployed"}, {"Deployed", "Deployed"}}

// The words that something here can have.
const (
	notConfigured  = "Not configured"
	notScheduled   = "Not scheduled"
	scheduled      = "Scheduled"
	viaImport      = "Imported"
	viaACME        = "ACME"
	viaAPI         = "Web API"
	viaClientAdmin = "Client Admin"
)

// parseWord reads a label or constant in any letter case, and gives the label.
func parseWord(field string, words []word, text string) (label string, err error) {
	for _, w := range words {
		if strings.EqualFold(text, w.label) || strings.EqualFold(text, w.constant) {
			return w.label, nil
		}
	}
	var labels []string
	for _, w := range words {
		labels = append(labels, w.label)
	}
	return "", wrongValue("%s: there is no %s; it is one of %s", field, quoted(text), strings.Join(labels, ", "))
}

// filterInstall: nothing is installed from here, so every certificate has one status and none another.
func filterInstall(_ *call, text string, _ *ra.Query) (never bool, err error) {
	label, err := parseWord("installStatus", installStatuses[:], text)
	return label != notConfigured, err
}

// filterDiscovery: nothing is discovered here.
func filterDiscovery(_ *call, text string, _ *ra.Query) (never bool, err error) {
	label, err := parseWord("discoveryStatus", discoveryStatuses[:], text)
	return label != "NotDeployed", err
}

func filterRenewal(_ *call, text string, q *ra.Query) (never bool, err error) {
	label, err := parseWord("renewalStatus", renewalStatuses[:], text)
	if err != nil || label != notScheduled && label != scheduled {
		return true, err
	}
	where(q, false, func(e *ra.Enrollment, _ *x509.Certificate) bool { return renewalStatus(e) == label })
	return false, nil
}

func filterVia(_ *call, text string, q *ra.Query) (never bool, err error) {
	label, err := parseWord("requestedVia", requestWays[:], text)
	if err != nil {
		return false, err
	}
	switch label {
	case viaImport, viaACME, viaAPI, viaClientAdmin:
		where(q, false, func(e *ra.Enrollment, _ *x509.Certificate) bool { return requestedVia(e) == label })
		return false, nil
	default:
		return true, nil
	}
}

// renewalStatus is SCM's word for whether a certificate renews itself.
func renewalStatus(e *ra.Enrollment) string {
	if e.AutoRenew.On {
		return scheduled
	}
	return notScheduled
}
