package acme

import (
	"context"
	"encoding/pem"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// certificate downloads a certificate with its chain (RFC 8555, 7.4.2): each certifies the one before, the root is left
// out. A revoked or expired certificate stays what it is.
//
// The URL that an order shows has the issuer's default chain. The same URL with "/1", "/2" … has the alternate ones, and
// every answer links to all chains but its own.
func (s *Server) certificate(_ context.Context, req *signed) (*reply, error) {
	c := req.certificate
	chains := [][]byte{s.Chain(c.Issuer)}
	if s.Alternates != nil {
		chains = append(chains, s.Alternates(c.Issuer)...)
	}
	chosen := req.target.chain
	if chosen >= len(chains) {
		return nil, problem.New(problem.NotFound, "this certificate has %d alternate chains", len(chains)-1)
	}
	rep := &reply{contentType: "application/pem-certificate-chain"}
	for n := range chains {
		if n != chosen {
			rep.alternates = append(rep.alternates, s.links.to(target{resource: resCertificate, certificate: req.target.certificate, chain: n}))
		}
	}
	rep.body = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})
	rep.body = append(rep.body, chains[chosen]...)
	return rep, nil
}
