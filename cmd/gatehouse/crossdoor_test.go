package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestEnrolledBySCMRenewedByLego: what one door has issued is listed, renewed and revoked by others. Its domain is validated once,
// for both.
func TestEnrolledBySCMRenewedByLego(t *testing.T) {
	testneed.Programs(t, "openssl")
	t.Parallel()
	dns, err := testca.NewDNS(testca.DNSConfig{})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	w := newWorld(t)
	w.args = []string{"--delegated-domains", "--resolver", dns.Addr()}
	i := w.start()
	i.mustCommand("domain", "add", "example.com", "--org", "dev")
	v := i.domain("validate", "example.com", "--method", "txt")
	must(t, dns.Add(v.Validation.Location+". 60 IN TXT "+v.Validation.Value))
	i.domain("check", "example.com")

	c := newSCMClient(i, "ada", "requester", "administrator")
	var made struct {
		ID int `json:"sslId"`
	}
	// As SCM's clients do it: one name in the CSR, the others beside it.
	c.call("POST", "/enroll", fmt.Sprintf(`{"orgId":1,"certType":1,"csr":%s,"subjAltNames":"b.example.com"}`, quotedCSR(t, "a.example.com")), 200, &made)
	chain := parseChain(t, c.call("GET", fmt.Sprintf("/collect/%d?format=x509R", made.ID), "", 200, nil))
	first := chain[0]
	i.verifyChain(chain, "a.example.com", "b.example.com")
	if found := c.list("commonName=a.example.com&status=Issued"); len(found) != 1 || found[0].ID != made.ID {
		t.Errorf("the list has %+v", found)
	}

	// RFC 9773, 5: an account of the same organisation, at the ACME door, replaces it.
	lego := registeredLego(i, certcrypto.EC256)
	id, err := certificate.MakeARICertID(first)
	must(t, err)
	got, second := lego.obtain(t, certificate.ObtainRequest{Domains: []string{"a.example.com", "b.example.com"}, ReplacesCertID: id})
	if lineage := i.lineage(second); lineage != fmt.Sprintf("replaces %d", made.ID) {
		t.Errorf("the lineage of the second is %q", lineage)
	}
	list := c.list("commonName=a.example.com&status=Issued")
	if len(list) != 2 || list[0].ID != made.ID || strings.ReplaceAll(list[1].Serial, ":", "") != strings.ToUpper(fmt.Sprintf("%x", second.SerialNumber.Bytes())) {
		t.Fatalf("the list has %+v", list)
	}
	var details map[string]any
	c.call("GET", fmt.Sprintf("/%d", made.ID), "", 200, &details)
	if details["renewed"] != true {
		t.Errorf("the first is said to be %v", details)
	}

	// Each is revoked by its own name.
	c.call("POST", "/revoke/serial/"+list[1].Serial, `{"reasonCode":4,"reason":"the service is gone"}`, http.StatusNoContent, nil)
	c.call("POST", fmt.Sprintf("/revoke/%d", made.ID), `{"reasonCode":1,"reason":"the key was found"}`, http.StatusNoContent, nil)
	folder := t.TempDir()
	issuers := filepath.Join(folder, "chain.pem")
	must(t, os.WriteFile(issuers, testca.CertificatePEM(chain[1]), 0o600))
	for reason, cert := range map[string][]byte{"Superseded": got.Certificate, "Key Compromise": testca.CertificatePEM(first)} {
		file := filepath.Join(folder, "cert.pem")
		must(t, os.WriteFile(file, cert, 0o600))
		i.isRevoked(file, issuers, reason)
	}
	isLegoProblem(t, lego.Certificate.Revoke(got.Certificate), 400, "alreadyRevoked")
}

// TestCertbotApprovedAndRevokedBySCM: an ACME order that waits for people is approved at another door, and what certbot then
// fetches is found by its serial number there, located, and revoked.
func TestCertbotApprovedAndRevokedBySCM(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t, "--approvals", "1"))
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email")
	scm := newSCMClient(c.instance, "ada", "approver", "administrator")
	look := newSCMClient(c.instance, "aud", "auditor")

	order := append([]string{"certonly", "-d", "one.example.com", "--issuance-timeout", "2"}, c.standalone()...)
	if out, err := c.try(order...); err == nil {
		t.Fatalf("certbot has a certificate that nobody approved\n%s", out)
	}
	waits := look.list("status=Requested")
	if len(waits) != 1 || waits[0].Name != "one.example.com" {
		t.Fatalf("what waits is %+v", waits)
	}
	path := fmt.Sprintf("/approve/%d", waits[0].ID)
	if answer := look.call("POST", path, `{"message":"mine"}`, 400, nil); !strings.Contains(string(answer), `"code":-3,`) {
		t.Errorf("an auditor's approval: %s", answer)
	}
	scm.call("POST", path, `{"message":"ticket 42"}`, http.StatusNoContent, nil)
	c.run(order...)
	c.verifies("one.example.com")

	found := look.list("serialNumber=" + c.serial("one.example.com"))
	if len(found) != 1 {
		t.Fatalf("by its serial number: %+v", found)
	}
	at := fmt.Sprintf("/%d/location", found[0].ID)
	scm.call("POST", at, `{"locationType":"CUSTOM","details":{"rack":"7"}}`, http.StatusCreated, nil)
	var places []struct {
		Details map[string]string `json:"details"`
	}
	if look.call("GET", at, "", 200, &places); len(places) != 1 || places[0].Details["rack"] != "7" {
		t.Errorf("it is at %+v", places)
	}
	scm.call("POST", fmt.Sprintf("/revoke/%d", found[0].ID), `{"reasonCode":5,"reason":"taken out"}`, http.StatusNoContent, nil)
	c.isRevoked("one.example.com", "Cessation Of Operation")
}
