package main

import (
	"net/netip"
	"slices"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	// labDomain is what the lab's names are under, reserved for examples (RFC 2606, 3).
	labDomain = "example.net"
	// labCAA is the name by which CAA records mean the lab's gateway.
	labCAA = "ca." + labDomain
	// labIssued is what is expected of a name whose world is honest, or whose trouble a gateway has to cope with.
	labIssued = "issued"
)

// labHost is one row of the lab's table: a name, what is wrong with it, by which method it is ordered to meet that, and
// what the gateway then says.
type labHost struct {
	Name     string     `json:"name"`
	Method   dcv.Method `json:"method"`
	Profile  string     `json:"profile"`
	Trouble  string     `json:"trouble"`
	Expected string     `json:"expected"` // labIssued, or the type of the error document

	build func(w *labWorlds, name string) error // makes the trouble; nil: there is nothing to make
}

// problemType is the expectation of an error type of RFC 8555, 6.7.
func problemType(word string) string { return "urn:ietf:params:acme:error:" + word }

// labHosts is the whole table.
func labHosts() []labHost {
	all := slices.Concat(labHTTPHosts(), labDNSHosts(), labTXTHosts(), labTLSHosts(), labCAAHosts(), labDNSSECHosts(), labAddressHosts())
	for i := range all {
		if all[i].Profile == "" {
			all[i].Profile = labProfile
		}
	}
	return all
}

// findLabHost is the row of a name and a method; an empty method is that of the first row of the name.
func findLabHost(name string, method dcv.Method) (labHost, bool) {
	hosts := labHosts()
	i := slices.IndexFunc(hosts, func(h labHost) bool { return h.Name == name && (method == "" || h.Method == method) })
	if i < 0 {
		return labHost{}, false
	}
	return hosts[i], true
}

// labHTTPHosts are reached at the lab's web server, which stands in front of the client's and does to its answer what the
// row says.
func labHTTPHosts() []labHost {
	host := func(label, trouble, expected string, fault testca.HTTPFault) labHost {
		return labHost{
			Name: label + ".http." + labDomain, Method: dcv.HTTP01, Trouble: trouble, Expected: expected,
			build: func(w *labWorlds, name string) error {
				w.dns.SetAddrs(name, w.addr)
				w.web.BreakHost(name, fault)
				return nil
			},
		}
	}
	redirect := func(label, trouble, to string) labHost {
		return host("redirect-"+label, trouble, problemType("connection"), testca.HTTPFault{Kind: testca.HTTPRedirect, URL: to})
	}
	return []labHost{
		host("ok", "nothing", labIssued, testca.HTTPFault{}),
		host("redirect", "three redirects, which end at the answer", labIssued, testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: 3}),
		host("slow", "the answer takes a second", labIssued, testca.HTTPFault{Kind: testca.HTTPSlow, Delay: labSlow}),
		host("redirect-loop", "redirects to itself", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPRedirectLoop}),
		host("redirect-chain", "twelve redirects before the answer", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: 12}),
		redirect("private", "redirects to a private address", "http://10.0.0.1/"),
		redirect("metadata", "redirects to where clouds keep their machines' secrets", "http://169.254.169.254/latest/meta-data/"),
		redirect("port", "redirects to the port of SSH", "http://ok.http."+labDomain+":22/"),
		redirect("scheme", "redirects to FTP", "ftp://ok.http."+labDomain+"/"),
		host("no-location", "redirects to nowhere", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPNoLocation}),
		host("two-locations", "redirects to two places at once", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPTwoLocations, URL: "/elsewhere"}),
		host("not-found", "the answer is not there (404)", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPContent, Status: 404}),
		host("server-error", "the server has failed (500)", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPContent, Status: 500}),
		host("wrong-body", "answers with a page of its own", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPContent, Body: "<html>It works!</html>"}),
		host("empty-body", "answers with nothing", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPContent}),
		host("huge-body", "the answer, then a mebibyte", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPOversizedBody}),
		host("endless-body", "the answer, then bytes without end", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPEndlessBody}),
		host("short-body", "announces more than it sends", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPShortBody}),
		host("huge-headers", "a mebibyte of header fields", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPOversizedHeaders}),
		host("no-http", "speaks SSH instead of HTTP", problemType("incorrectResponse"), testca.HTTPFault{Kind: testca.HTTPRaw, Body: "SSH-2.0-throw-away\r\n"}),
		host("hang-up", "closes the connection instead of answering", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPHangUp}),
		host("silent", "takes the request and never answers", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPSilent}),
		host("drip", "answers one byte a second", problemType("connection"), testca.HTTPFault{Kind: testca.HTTPDrip, Delay: labSlow}),
	}
}

// labTLSHosts are reached at the lab's TLS server, which shows the client's digest and what the row says.
func labTLSHosts() []labHost {
	host := func(label, trouble, expected string, fault testca.TLSALPNFault) labHost {
		return labHost{
			Name: label + ".tls." + labDomain, Method: dcv.TLSALPN01, Trouble: trouble, Expected: expected,
			build: func(w *labWorlds, name string) error { return w.breakTLS(name, fault) },
		}
	}
	return []labHost{
		{Name: "ok.tls." + labDomain, Method: dcv.TLSALPN01, Trouble: "nothing", Expected: labIssued},
		host("capitals", "the certificate has the name in capitals", labIssued, testca.TLSALPNUpperCaseName),
		host("no-protocol", "does not know ALPN", problemType("tls"), testca.TLSALPNNoProtocol),
		host("other-protocol", "knows http/1.1 and h2 alone", problemType("tls"), testca.TLSALPNOtherProtocol),
		host("old-version", "speaks TLS 1.1 at most", problemType("tls"), testca.TLSALPNOldVersion),
		host("no-tls", "answers with text instead of TLS", problemType("tls"), testca.TLSALPNPlain),
		host("hang-up", "closes the connection instead of answering", problemType("tls"), testca.TLSALPNHangUp),
		host("silent", "reads the ClientHello and never answers", problemType("connection"), testca.TLSALPNSilent),
		host("padded", "a chain of 100 KiB behind the certificate", problemType("tls"), testca.TLSALPNPadded),
		host("other-name", "the certificate is for another name", problemType("incorrectResponse"), testca.TLSALPNOtherName),
		host("two-names", "the certificate has a second name", problemType("incorrectResponse"), testca.TLSALPNTwoNames),
		host("no-name", "the certificate has no subjectAltName", problemType("incorrectResponse"), testca.TLSALPNNoName),
		host("no-extension", "the certificate has no acmeIdentifier, as an ordinary one", problemType("incorrectResponse"), testca.TLSALPNNoExtension),
		host("not-critical", "its acmeIdentifier is not critical", problemType("incorrectResponse"), testca.TLSALPNNotCritical),
		host("draft", "its acmeIdentifier has the number of earlier drafts", problemType("incorrectResponse"), testca.TLSALPNDraftOID),
		host("short-digest", "its acmeIdentifier is an octet short", problemType("incorrectResponse"), testca.TLSALPNShortDigest),
		host("other-digest", "its acmeIdentifier is another challenge's", problemType("incorrectResponse"), testca.TLSALPNOtherDigest),
	}
}

// labAddressHosts are addresses, and what the profile says about names.
func labAddressHosts() []labHost {
	denied := labHost{Name: labDenied, Method: dcv.HTTP01, Trouble: "the profile denies it", Expected: problemType("rejectedIdentifier")}
	rows := []labHost{denied}
	for _, method := range []dcv.Method{dcv.HTTP01, dcv.TLSALPN01} {
		rows = append(rows, labHost{Name: "127.0.0.1", Method: method, Trouble: "nothing; it is an address", Expected: labIssued})
	}
	for addr, trouble := range map[string]string{"10.0.0.1": "a private address", "169.254.169.254": "where clouds keep their machines' secrets"} {
		rows = append(rows, labHost{Name: addr, Method: dcv.HTTP01, Trouble: trouble, Expected: problemType("rejectedIdentifier")})
	}
	slices.SortStableFunc(rows, func(a, b labHost) int {
		x, _ := netip.ParseAddr(a.Name)
		y, _ := netip.ParseAddr(b.Name)
		return x.Compare(y)
	})
	return rows
}
