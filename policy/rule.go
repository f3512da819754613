package policy

// rule is one thing that a request must satisfy. Rules are asked in one sequence by [Profile.Decide], which ends at the
// first that refuses, and by [Profile.Explain], which asks all that can be asked.
type rule struct {
	name      string // as [Check].Rule
	ofCSR     bool   // it reads the CSR: without one there is nothing to ask
	ofRequest bool   // what passes it depends on the request, not on the profile
	later     bool   // what it misses can still be had without another request: a proof
	check     func(p *Profile, r Request, d *Decision) error
	found     func(p *Profile, r Request, d *Decision) string // what it looked at
	wanted    func(p *Profile, r Request) string              // what passes
}

// rules is the sequence: who asks comes before what for, and what is cheap before what is dear. It is never changed.
var rules = [...]rule{
	{name: "requester", ofRequest: true, check: (*Profile).checkRequester, found: foundRequester, wanted: wantedRequester},
	{name: "pinned-profile", ofRequest: true, check: (*Profile).checkPinned, found: foundPinned, wanted: wantedPinned},
	{name: "account-binding", ofRequest: true, check: (*Profile).checkRestriction, found: foundNamesAndProfile, wanted: wantedRestriction},
	{name: "organisation-names", ofRequest: true, check: (*Profile).checkOrganisation, found: foundNames, wanted: wantedOrganisation},
	{name: "custom-fields", check: (*Profile).checkFields, found: foundFields, wanted: wantedFields},
	{name: "csr", ofRequest: true, check: (*Profile).checkCSR, found: foundCSR, wanted: wantedCSR},
	{name: "names", check: (*Profile).decideNames, found: foundNames, wanted: wantedNames},
	{name: "key", ofCSR: true, check: (*Profile).checkCSRKey, found: foundKey, wanted: wantedKey},
	{name: "subject", ofCSR: true, check: (*Profile).decideSubject, found: foundSubject, wanted: wantedSubject},
	{name: "proofs", ofRequest: true, later: true, check: (*Profile).decideProofs, found: foundProofs, wanted: wantedProofs},
	{name: "term", check: (*Profile).decideTerm, found: foundTerm, wanted: wantedTerm},
	{name: "validity", check: (*Profile).decideValidity, found: foundValidity, wanted: wantedValidity},
	// Last: its refusal says that all else is in order ([ErrNotApproved]).
	{name: "approvals", ofCSR: true, later: true, check: (*Profile).decideApprovals, found: foundApprovals, wanted: wantedApprovals},
}
