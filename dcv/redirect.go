package dcv

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

const (
	// maxRedirects that are followed in one validation (RFC 8555, 8.3 leaves the number open; BR 3.2.2.4.19 the policy).
	maxRedirects = 10
	// maxURL bounds a redirect's target, in bytes.
	maxURL = 2048
	// challengePath is where a key authorization is published (RFC 8555, 8.3).
	challengePath = "/.well-known/acme-challenge/"
)

// target is one URL to fetch, checked.
type target struct {
	url   *url.URL
	https bool
	host  identifier.Identifier
	port  uint16
}

// ports are the two that may be contacted.
type ports struct{ http, https uint16 }

// firstTarget is where the challenge says the key authorization is: always plain HTTP (RFC 8555, 8.3). The token has been
// checked to be base64url.
func (p ports) firstTarget(id identifier.Identifier, token string) target {
	t := target{host: id, port: p.http}
	t.url = &url.URL{Scheme: "http", Path: challengePath + token}
	t.url.Host = t.authority()
	return t
}

// redirectTarget checks the Location of a redirect, which may be relative to from (RFC 9110, 10.2.2). The error says what
// is wrong with it and holds no text of the Location itself.
func (p ports) redirectTarget(from target, location string) (target, error) {
	if location == "" {
		return target{}, fmt.Errorf("its Location is empty")
	}
	if len(location) > maxURL {
		return target{}, fmt.Errorf("its Location is longer than %d bytes", maxURL)
	}
	u, err := from.url.Parse(location)
	if err != nil {
		return target{}, fmt.Errorf("its Location is not a URL") // err quotes it
	}
	u.Fragment, u.RawFragment = "", "" // never sent (RFC 9110, 4.2.5)
	t := target{url: u}
	switch {
	case u.Scheme == "https":
		t.https = true
	case u.Scheme != "http":
		return target{}, fmt.Errorf("its scheme is neither http nor https")
	}
	if u.Opaque != "" {
		return target{}, fmt.Errorf("its Location has no host")
	}
	if u.User != nil {
		return target{}, fmt.Errorf("its Location holds a user name") // RFC 9110, 4.2.4
	}
	if t.host, err = hostOf(u); err != nil {
		return target{}, err
	}
	if t.port, err = p.portOf(u); err != nil {
		return target{}, err
	}
	// net/url lets some octets through that would break the request line (RFC 9112, 3).
	if strings.ContainsFunc(u.RequestURI(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return target{}, fmt.Errorf("its path or query holds characters that must be escaped")
	}
	u.Host = t.authority() // one spelling, so that loops are seen
	return t, nil
}

// hostOf accepts a DNS name or the canonical text of an IP address and nothing else: none of the spellings (decimal,
// hexadecimal, shortened, zoned, escaped) that some programs read as an address.
func hostOf(u *url.URL) (identifier.Identifier, error) {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") || isIPv4(host) {
		id, err := identifier.ParseIP(host)
		if err != nil || strings.HasPrefix(u.Host, "[") != id.Addr().Is6() {
			return identifier.Identifier{}, fmt.Errorf("its host is not the canonical form of an IP address")
		}
		return id, nil
	}
	id, err := identifier.ParseDNS(strings.TrimSuffix(host, ".")) // a fully qualified name is the same name
	if err != nil || id.IsWildcard() {
		return identifier.Identifier{}, fmt.Errorf("its host is neither a DNS name nor an IP address")
	}
	return id, nil
}

func isIPv4(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4()
}

// portOf is the URL's port, or its scheme's if it has none.
func (p ports) portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return 0, fmt.Errorf("its port is empty")
		}
		if u.Scheme == "https" {
			return p.https, nil
		}
		return p.http, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if port := uint16(n); err == nil && (port == p.http || port == p.https) && strconv.Itoa(int(port)) == text {
		return port, nil
	}
	return 0, fmt.Errorf("its port is neither %d nor %d", p.http, p.https)
}

// authority is host and port for URL and Host field; the scheme's own port is left out (RFC 9110, 4.2.3 and 7.2).
func (t target) authority() string {
	host := t.host.Value()
	standard := uint16(80)
	if t.https {
		standard = 443
	}
	if t.port != standard {
		return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
	}
	if t.host.Addr().Is6() {
		return "[" + host + "]"
	}
	return host
}
