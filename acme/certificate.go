package acme

import (
	"context"
	"encoding/pem"
)

// certificate downloads a certificate with its chain (RFC 8555, 7.4.2): each certifies the one before, the root is left
// out. A revoked or expired certificate stays what it is.
func (s *Server) certificate(_ context.Context, req *signed) (*reply, error) {
	c := req.certificate
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})
	body = append(body, s.Chain(c.Issuer)...)
	return &reply{body: body, contentType: "application/pem-certificate-chain"}, nil
}
