// Package conformance holds the gateway to its RFCs, one requirement after the other.
//
// Its tables have a row for every MUST of RFC 8555, 8737, 8738, 8659, 8657 and 9773, and of draft-ietf-acme-profiles, that
// binds a server. A row names its section, says in a few words what is required, and has tests that show the gateway doing
// it and refusing what it must not take; where the gateway departs from the letter, the row points to docs/divergences.md.
// The tests are named by section (TestRFC8555/6.2/…), and docs/conformance.md is written from the same tables:
//
//	go test ./conformance -run 'TestRFC8555/7.3.5'
//	go test ./conformance -run TestDocument -update
//
// The tests talk to a whole gateway over HTTPS as a client would, with a client of their own that signs and sends whatever
// a test wants, right or wrong. They trust nothing in the gateway's answers that they have not looked at, and nothing here
// is used outside tests.
package conformance
