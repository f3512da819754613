// Package acme is the ACME door: the resources, state rules and endpoints of RFC 8555.
//
// It decides whether a request is fresh, meant for us and signed by the account it names, which account sees which
// object, and what an order, an authorization or a challenge is at a moment: pure functions of recorded facts and the
// time. It trusts acme/jws for signatures, policy for which names may be asked for, dcv for what was proven, ra for
// everything about a certificate, and its Store for atomic transitions. Until its signature is verified it takes a
// request for a claim: good for finding records, never for changing them.
//
// It never signs, never validates by itself, never builds a URL from what a request says about its host, and never lets
// an account see another's object: a foreign one looks absent. An authorization is never used for another account,
// organisation or profile than the one it was made for.
//
// Where this door departs from the letter of the RFC, or chooses among what it allows, docs/divergences.md says so.
package acme
