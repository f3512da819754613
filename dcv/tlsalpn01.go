package dcv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// acmeProtocol is negotiated by a server that answers a challenge (RFC 8737, 4 and 6.2).
	acmeProtocol = "acme-tls/1"
	// maxHandshake is how many bytes of a handshake are read. An answer is one small certificate.
	maxHandshake = 32 << 10
)

// tlsALPN01 looks at the certificate that the name's own server shows to who negotiates acme-tls/1 (RFC 8737, 3). It
// finds and dials addresses as http-01 does, follows nothing, and sends nothing behind the handshake.
func (v *Validator) tlsALPN01(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	t := target{host: req.Identifier, port: v.cfg.TLSALPNPort}
	rec.Hops = []Hop{{URL: "tls://" + net.JoinHostPort(t.host.Value(), strconv.Itoa(int(t.port)))}}
	hop := &rec.Hops[0]
	start := time.Now()
	defer func() { hop.Took = time.Since(start) }()
	if failed := v.locate(ctx, t, req, rec, hop); failed != nil {
		return nil, failed
	}
	conn, failed := v.connect(ctx, t, req.Private, rec, hop)
	if failed != nil {
		return nil, failed
	}
	// Not closed by TLS, which would send an alert: RFC 8737, 3 wants nothing more to be exchanged.
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	shown, failed := rec.acmeHandshake(ctx, conn, req.Identifier, hop)
	if failed != nil {
		return nil, failed
	}
	if wrong := judgeACMECertificate(shown, req.Identifier, req.KeyAuthorization); wrong != "" {
		return nil, rec.fail(problem.IncorrectResponse, "Let the server answer acme-tls/1 with the certificate of RFC 8737, 3 for this challenge",
			"%s at %s: the certificate %s", hop.URL, hop.Dialled, wrong)
	}
	return v.proof(req, fmt.Sprintf("%s at %s", hop.URL, hop.Dialled)), nil
}

// acmeHandshake negotiates acme-tls/1 alone, at TLS 1.2 or newer (RFC 8737, 3), and gives the server's own certificate.
// Nothing about the certificate is verified here: the applicant made it itself.
func (r *Record) acmeHandshake(ctx context.Context, conn net.Conn, id identifier.Identifier, hop *Hop) (*x509.Certificate, *problem.Error) {
	const advice = "Let the server speak TLS 1.2 or newer there and answer the protocol acme-tls/1 (RFC 8737, 3)"
	bounded := &meteredConn{Conn: conn, meter: meter{from: conn, left: maxHandshake}}
	secure := tls.Client(bounded, &tls.Config{
		ServerName:         serverName(id),
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{acmeProtocol},
	})
	start := time.Now()
	err := secure.HandshakeContext(ctx)
	hop.Answered = time.Since(start)
	switch {
	case bounded.meter.exceeded:
		return nil, r.fail(problem.TLS, advice, "no TLS session with %s for %s: the server sent more than %d bytes", hop.Dialled, hop.URL, maxHandshake)
	case err != nil && isTimeout(err):
		return nil, r.failFor(err, problem.Connection, "Look at the server and what stands in front of it",
			"%s at %s: %s while %s", hop.URL, hop.Dialled, reason(err), shakingHands)
	case err != nil:
		return nil, r.failFor(err, problem.TLS, advice, "no TLS session with %s for %s: %s", hop.Dialled, hop.URL, reason(err))
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != acmeProtocol {
		return nil, r.fail(problem.TLS, advice, "%s at %s: the server did not negotiate the protocol acme-tls/1", hop.URL, hop.Dialled)
	}
	if len(state.PeerCertificates) == 0 { // a server shows one in every handshake that is no resumption
		return nil, r.fail(problem.TLS, advice, "%s at %s: the server showed no certificate", hop.URL, hop.Dialled)
	}
	return state.PeerCertificates[0], nil
}

// serverName is the name in SNI: the identifier, or an address's name in the reverse zones (RFC 8738, 6), because SNI
// has no addresses (RFC 6066, 3).
func serverName(id identifier.Identifier) string {
	if id.Type() != identifier.IP {
		return id.Value()
	}
	return reverseName(id.Addr())
}

// reverseName is an address's name below in-addr.arpa (RFC 1035, 3.5) or ip6.arpa (RFC 3596, 2.5), without the last dot.
func reverseName(addr netip.Addr) string {
	name, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return "" // cannot happen: an identifier's address is one
	}
	return strings.TrimSuffix(name, ".")
}

// meteredConn ends a connection's reads behind a number of bytes.
type meteredConn struct {
	net.Conn
	meter meter
}

func (c *meteredConn) Read(p []byte) (int, error) { return c.meter.Read(p) }
