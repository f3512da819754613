package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	labSlow    = time.Second
	labSlowDNS = 300 * time.Millisecond // far less than a question to the DNS may take

	// acmeChallenge is in front of the name where dns-01 looks (RFC 8555, 8.4).
	acmeChallenge = "_acme-challenge."
)

// labWorlds are the surroundings of the lab's gateway: a DNS server in which every name is the client's address unless the
// table says otherwise, and a web server and a TLS server at an address of their own for the hosts that misbehave.
type labWorlds struct {
	dns  *testca.DNS
	web  *testca.HTTP
	tls  *testca.TLSALPN
	addr netip.Addr // of web and tls

	front         *http.Client // asks the client's web server
	http, tlsALPN uint16       // ports of the client's servers, and of every other
}

// newLabWorlds starts the servers and makes every trouble of the table.
func newLabWorlds(f labFlags) (_ *labWorlds, err error) {
	w := &labWorlds{addr: f.worlds, http: f.HTTP01Port, tlsALPN: f.TLSALPNPort}
	w.front = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}} // Transport has no Proxy
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	w.dns, err = testca.NewDNS(testca.DNSConfig{Addr: f.DNSListen, Default: []netip.Addr{labClientAddr}, Updates: true})
	if err != nil {
		return nil, err
	}
	w.web, err = testca.NewHTTP(testca.HTTPConfig{Addr: hostPort(w.addr, f.HTTP01Port), Answer: w.ask})
	if err != nil {
		return nil, err
	}
	w.tls, err = testca.NewTLSALPN(testca.TLSALPNConfig{Addr: hostPort(w.addr, f.TLSALPNPort), Digest: w.digest})
	if err != nil {
		return nil, err
	}
	// Clients that change records look for their zone's SOA.
	for _, zone := range []string{labDomain, "example.com", "example.org"} {
		if err := w.dns.Add(zone + ". 60 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60"); err != nil {
			return nil, err
		}
	}
	for _, h := range labHosts() {
		if h.build != nil {
			if err := h.build(w, h.Name); err != nil {
				return nil, fmt.Errorf("making the trouble of %s: %w", h.Name, err)
			}
		}
	}
	return w, nil
}

func (w *labWorlds) close() error {
	var errs []error
	if w.dns != nil {
		errs = append(errs, w.dns.Close())
	}
	if w.web != nil {
		errs = append(errs, w.web.Close())
	}
	if w.tls != nil {
		errs = append(errs, w.tls.Close())
	}
	return errors.Join(errs...)
}

// ask gets an answer from the client's web server, in front of which the lab's stands.
func (w *labWorlds) ask(ctx context.Context, host, token string) (string, bool) {
	url := "http://" + hostPort(labClientAddr, w.http) + "/.well-known/acme-challenge/" + token
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", false
	}
	req.Host = net.JoinHostPort(host, strconv.Itoa(int(w.http)))
	resp, err := w.front.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096)) // far more than a key authorization
	return string(body), err == nil && resp.StatusCode == http.StatusOK
}

// digest gets what the client's TLS server shows for a name (RFC 8737, 3).
func (w *labWorlds) digest(ctx context.Context, name string) ([]byte, bool) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{
		ServerName: name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true, // it signs itself, and decides nothing here
	}}
	c, err := dialer.DialContext(ctx, "tcp", hostPort(labClientAddr, w.tlsALPN))
	if err != nil {
		return nil, false
	}
	defer c.Close()
	for _, cert := range c.(*tls.Conn).ConnectionState().PeerCertificates {
		for _, e := range cert.Extensions {
			var digest []byte
			if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) { // id-pe-acmeIdentifier (RFC 8737, 6.1)
				_, err := asn1.Unmarshal(e.Value, &digest)
				return digest, err == nil && len(digest) == sha256.Size
			}
		}
	}
	return nil, false
}

// breakTLS has the lab's TLS server answer for a name, with what the client's shows and the fault.
func (w *labWorlds) breakTLS(name string, fault testca.TLSALPNFault) error {
	id, err := identifier.ParseDNS(name)
	if err != nil {
		return err
	}
	w.dns.SetAddrs(name, w.addr)
	w.tls.Break(id, fault)
	return nil
}

// addCAA gives a name CAA records and the client's address, which names with records do not have by themselves.
func (w *labWorlds) addCAA(name string, records ...string) error {
	w.dns.SetAddrs(name, labClientAddr)
	for _, r := range records {
		if err := w.dns.Add(name + ". 60 IN CAA " + r); err != nil {
			return err
		}
	}
	return nil
}

// signed makes a name a zone of its own.
func (w *labWorlds) signed(name string, state testca.ZoneState) error {
	w.dns.SetAddrs(name, labClientAddr)
	return w.dns.SignZone(name, state)
}

func hostPort(addr netip.Addr, port uint16) string { return netip.AddrPortFrom(addr, port).String() }
