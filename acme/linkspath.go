package acme

import (
	"net/url"
	"strconv"
	"strings"
)

// path is the escaped path of a target, with its query if it has one.
func (t target) path() string {
	switch t.resource {
	case resDirectory:
		return prefix + strings.TrimPrefix(t.in()+"/directory", "/")
	case resNewNonce:
		return prefix + "r/new-nonce"
	case resNewAccount:
		return prefix + "r/new-account" + t.in()
	case resNewAuthz:
		return prefix + "r/new-authz" + t.in()
	case resNewOrder:
		return prefix + "r/new-order" + t.in()
	case resAccount:
		return prefix + "r/account/" + string(t.account)
	case resOrders:
		path := prefix + "r/account/" + string(t.account) + "/orders"
		if t.query != "" {
			path += "?" + t.query
		}
		return path
	case resOrder:
		return prefix + "r/order/" + string(t.order)
	case resFinalize:
		return prefix + "r/order/" + string(t.order) + "/finalize"
	case resAuthz:
		return prefix + "r/authz/" + string(t.authz)
	case resChallenge:
		return prefix + "r/challenge/" + string(t.authz) + "." + strconv.Itoa(t.position)
	case resCertificate:
		path := prefix + "r/certificate/" + url.PathEscape(t.certificate.Issuer) + "." + string(t.certificate.Serial)
		if t.chain > 0 {
			path += "/" + strconv.Itoa(t.chain)
		}
		return path
	case resRevoke:
		return prefix + "r/revoke-cert"
	case resRenewalInfo:
		return prefix + strings.TrimSuffix("r/renewal-info/"+t.certID, "/")
	case resKeyChange:
		return prefix + "r/key-change"
	}
	return prefix
}

// in is the part of a path that names organisation and profile.
func (t target) in() string {
	switch {
	case t.org == "":
		return ""
	case t.profile == "":
		return "/in/" + url.PathEscape(t.org)
	}
	return "/in/" + url.PathEscape(t.org) + "/" + url.PathEscape(t.profile)
}
