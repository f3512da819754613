package ca

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// CAA asks RFC 8659 whether this gateway may issue ([dcv.Validator]).
type CAA interface {
	// CheckCAA gives a permission for each of the names, in their order, or an error if one of them has none.
	CheckCAA(ctx context.Context, req dcv.CAARequest) ([]dcv.CAA, error)
}

// caaTime bounds step 2, the wait for a slot to look anything up included. Policy lets a permission pass that has a minute
// left; what this step takes, and then recording the intent and the signature, must fit into that, or the names that were not
// asked again are signed on permissions that are too old. A hostile name server decides how long the DNS takes.
const caaTime = 20 * time.Second

// permit is step 2: after it every DNS name has a permission that is young enough. All names without one are asked in
// one call, each of them by itself.
func (n *issuance) permit(ctx context.Context) error {
	needed := n.decision.CAA
	var request dcv.CAARequest
	var at []int // where in needed each of the request's names stands
	for i, c := range needed {
		if c.Permission.At.IsZero() {
			request.Names = append(request.Names, dcv.CAAName{Identifier: c.Identifier, Methods: c.Methods})
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	if n.a.caa == nil {
		return problem.Wrap(errors.New("ca: a profile asks for CAA, and nothing here can look it up"), problem.Internal, "")
	}
	request.DNSSEC = n.decision.Profile.DNSSEC()
	if n.a.accountURLs != nil {
		request.Accounts = n.a.accountURLs(n.decision.Requester)
	}
	ctx, cancel := context.WithTimeout(ctx, caaTime)
	defer cancel()
	found, err := n.a.caa.CheckCAA(ctx, request)
	if err != nil {
		return err
	}
	if len(found) != len(at) {
		return problem.Wrap(fmt.Errorf("ca: %d permissions for %d names", len(found), len(at)), problem.Internal, "")
	}
	for k, permission := range found {
		if permission.Identifier != needed[at[k]].Identifier || permission.At.IsZero() {
			return problem.Wrap(fmt.Errorf("ca: no permission for %s", needed[at[k]].Identifier), problem.Internal, "")
		}
		if request.DNSSEC == dcv.DNSSECRequire && !permission.Secure {
			return problem.Wrap(fmt.Errorf("ca: a permission for %s that DNSSEC does not authenticate", needed[at[k]].Identifier), problem.Internal, "")
		}
		needed[at[k]].Permission = permission
	}
	return nil
}

// permittedAt says when CAA permitted each name, as "CAA a.example.com 2026-09-01T12:00:00Z, b.example.com …"; empty if the
// profile does not ask.
func (n *issuance) permittedAt() string {
	var times []string
	for _, c := range n.decision.CAA {
		times = append(times, c.Identifier.Value()+" "+c.Permission.At.UTC().Format(time.RFC3339))
	}
	if len(times) == 0 {
		return ""
	}
	return "CAA " + strings.Join(times, ", ")
}
