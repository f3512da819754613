package scm

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// The vendor's numbers for what is wrong, as far as something here says them.
const (
	codeUnknown          = -1 // also: there is nothing at this path
	codeInternal         = -14
	codeNoRight          = -3
	codeMissing          = -7
	codeUnknownUser      = -16
	codeTerm             = -36
	codeNoProfile        = -111
	codeFieldMissing     = -62
	codeBadKey           = -78
	codeNotIssued        = -102 // only issued certificates can be revoked
	codeRenewalFailed    = -105
	codeUnavailable      = -129
	codeState            = -130
	codeWrongID          = -124
	codeFieldUnknown     = -135
	codeFieldTwice       = -134
	codeBadCSR           = -138
	codeBadAlgorithm     = -11
	codeOrganisation     = -639
	codeOneNeeded        = -951 // at least one of some members
	codeOrgState         = -1021
	codeUnknownOrg       = -1023
	codeLoginFailed      = -970
	codeRestricted       = -993
	codeUnreadable       = -1002
	codeNull             = -1001 // a member or parameter that must be there
	codeDomainNotAllowed = -1010
	codeDecided          = -1112
	codeValue            = -1601
	codeDomainCheck      = -1603
	codeNotFound         = -5101
	codeProcessing       = 0
	codeDomainExists     = -700
	codeDelegationState  = -705 // a delegation is not asked for
	codeDelegationGone   = -707
	codeNoDelegation     = -709 // a domain that nobody uses
	codeOrgGone          = -711
	codeDomainShort      = -712
	codeDomainLong       = -713
	codeDomainDots       = -714
	codeDomainInactive   = -715
	codeCSRText          = -9
	codeNotValidated     = -107
	codeNotAvailable     = -109
	codeRevoked          = -110
	codeFormat           = -126
	codeNotCollectable   = -183
	codeOrderNumber      = -1104
	codeOwnRequest       = -1140
	codeValidationState  = -724 // the validation of a domain is not where that could be done
	codeUnknownDomain    = -727
	codeInvalidDomain    = -732
)

// codedError is an error with the status and number that it has on the wire.
type codedError struct {
	status, code int
	error
}

func (e *codedError) Unwrap() error { return e.error }

// coded gives an error its status and number, whatever its kind. A nil error stays nil.
func coded(status, code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{status, code, err}
}

// recoded gives an error of one kind a status and number, and leaves others alone.
func recoded(err error, kind problem.Kind, status, code int) error {
	if problem.Is(err, kind) {
		return coded(status, code, err)
	}
	return err
}

// wire is the status and number of an error: what an endpoint has said of it, else by its cause, else by its kind.
func wire(err error) (status, code int) {
	if c, ok := errors.AsType[*codedError](err); ok {
		return c.status, c.code
	}
	p := problem.From(err)
	for _, cause := range []struct {
		err  error
		code int
	}{
		{rest.ErrMissing, codeMissing}, {rest.ErrValue, codeValue}, {policy.ErrTerm, codeTerm}, {policy.ErrMissingField, codeFieldMissing},
		{policy.ErrUnknownField, codeFieldUnknown}, {policy.ErrRepeatedField, codeFieldTwice}, {policy.ErrFieldValue, codeValue},
		{ra.ErrDomainSuspended, codeDomainInactive}, {ra.ErrOrgStopped, codeOrgGone},
	} {
		if errors.Is(err, cause.err) {
			return http.StatusBadRequest, cause.code
		}
	}
	switch p.Kind {
	case problem.Unavailable:
		return http.StatusServiceUnavailable, codeUnavailable
	case problem.Malformed:
		if errors.Is(err, rest.ErrBody) {
			return http.StatusBadRequest, codeUnreadable
		}
		return http.StatusBadRequest, codeValue
	case problem.TooLarge:
		return http.StatusRequestEntityTooLarge, codeUnreadable
	case problem.UnsupportedMedia:
		return http.StatusBadRequest, codeUnreadable
	case problem.MethodNotAllowed:
		return http.StatusMethodNotAllowed, codeUnknown
	case problem.NotFound:
		return http.StatusBadRequest, codeWrongID
	case problem.Conflict:
		return http.StatusBadRequest, codeState
	case problem.Unauthorized, problem.AccountDoesNotExist, problem.UserActionRequired, problem.ExternalAccountRequired:
		return http.StatusBadRequest, codeNoRight
	case problem.AlreadyRevoked:
		return http.StatusBadRequest, codeNotIssued
	case problem.BadCSR:
		return http.StatusBadRequest, codeBadCSR
	case problem.BadPublicKey:
		return http.StatusBadRequest, codeBadKey
	case problem.BadSignatureAlgorithm:
		return http.StatusBadRequest, codeBadAlgorithm
	case problem.BadRevocationReason, problem.InvalidContact, problem.UnsupportedContact, problem.BadNonce:
		return http.StatusBadRequest, codeValue
	case problem.OrderNotReady:
		return http.StatusBadRequest, codeState
	case problem.RejectedIdentifier, problem.UnsupportedIdentifier:
		return http.StatusBadRequest, codeDomainNotAllowed
	case problem.RateLimited:
		return http.StatusBadRequest, codeRestricted
	case problem.CAA, problem.Connection, problem.DNS, problem.TLS, problem.IncorrectResponse:
		return http.StatusBadRequest, codeDomainCheck
	case problem.AlreadyReplaced:
		return http.StatusBadRequest, codeRenewalFailed
	case problem.InvalidProfile:
		return http.StatusBadRequest, codeNoProfile
	default: // Internal, and what is new
		return http.StatusInternalServerError, codeInternal
	}
}

// errorObject is how every error looks. Code is there when it is 0, too: clients look for it.
type errorObject struct {
	Code        int    `json:"code"`
	Description string `json:"description"`
}

// answered is an error that the client has been told of.
type answered struct{ error }

func (a *answered) Unwrap() error { return a.error }

// failed is all that is said of a failure of ours.
const failed = "the request could not be carried out; the gateway's log says why"

// retryAfter says when to come back, if an error knows (RFC 9110, 10.2.3).
func retryAfter(w http.ResponseWriter, p *problem.Error) {
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
}

// refuse answers with an error, unless that has been done.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	if _, ok := errors.AsType[*answered](err); ok {
		return
	}
	status, code := wire(err)
	p := problem.From(err)
	description := p.Detail
	if description == "" {
		description = failed
	}
	for _, part := range p.Parts {
		if part.Detail != "" && len(description) < 4096 && !strings.Contains(description, part.Detail) {
			description += "; " + part.Identifier.Value() + ": " + part.Detail
		}
	}
	retryAfter(w, p)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="`+s.PublicURL+TokenPath+`"`)
	}
	rest.WriteJSON(w, status, jsonType, errorObject{code, description}) // who has gone is told nothing
}
