package scm

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// certificateDetails is what the certificate says. The digests only name it.
type certificateDetails struct {
	Issuer          string `json:"issuer"`
	Subject         string `json:"subject"`
	SubjectAltNames string `json:"subjectAltNames"`
	MD5Hash         string `json:"md5Hash"`
	SHA1Hash        string `json:"sha1Hash"`
	SHA256Hash      string `json:"sha256Hash"`
}

// certificate adds what stands in the certificate.
func (d *details) certificate(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return problem.Wrap(err, problem.Internal, "")
	}
	m, s1, s256 := md5.Sum(der), sha1.Sum(der), sha256.Sum256(der)
	var alternatives []string
	for _, n := range cert.DNSNames {
		alternatives = append(alternatives, "dNSName="+n)
	}
	for _, ip := range cert.IPAddresses {
		alternatives = append(alternatives, "iPAddress="+ip.String())
	}
	d.CertificateDetails = &certificateDetails{
		Issuer: ra.DistinguishedName(cert.Issuer), Subject: ra.DistinguishedName(cert.Subject), SubjectAltNames: strings.Join(alternatives, ", "),
		MD5Hash: hex.EncodeToString(m[:]), SHA1Hash: hex.EncodeToString(s1[:]), SHA256Hash: hex.EncodeToString(s256[:]),
	}
	d.Vendor = vendorOf(cert)
	d.SignatureAlg = signatureName(cert.SignatureAlgorithm)
	d.key(cert.PublicKey)
	d.KeyUsages, d.ExtendedKeyUsages = keyUsages(cert.KeyUsage), extKeyUsages(cert)
	return nil
}

// vendorOf is what a certificate says of who issued it: the organisation, or the issuer's CN where it names none.
func vendorOf(cert *x509.Certificate) string {
	if len(cert.Issuer.Organization) > 0 {
		return cert.Issuer.Organization[0]
	}
	return cert.Issuer.CommonName
}

func (d *details) key(public any) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		d.KeyAlgorithm, d.KeySize = "RSA", k.N.BitLen()
		d.KeyType = "RSA - " + strconv.Itoa(d.KeySize)
	case *ecdsa.PublicKey:
		d.KeyAlgorithm, d.KeySize = "EC", k.Curve.Params().BitSize
		d.KeyType = "EC - " + k.Curve.Params().Name
	case ed25519.PublicKey:
		d.KeyAlgorithm, d.KeySize, d.KeyType = "Ed25519", 256, "Ed25519"
	}
}

// signatureName is an algorithm as Java names it, in capitals.
func signatureName(a x509.SignatureAlgorithm) string {
	switch a {
	case x509.SHA256WithRSA:
		return "SHA256WITHRSA"
	case x509.SHA384WithRSA:
		return "SHA384WITHRSA"
	case x509.SHA512WithRSA:
		return "SHA512WITHRSA"
	case x509.ECDSAWithSHA256:
		return "SHA256WITHECDSA"
	case x509.ECDSAWithSHA384:
		return "SHA384WITHECDSA"
	case x509.ECDSAWithSHA512:
		return "SHA512WITHECDSA"
	case x509.PureEd25519:
		return "ED25519"
	default:
		return strings.ToUpper(a.String())
	}
}

// keyUsages are the names of the bits of RFC 5280, 4.2.1.3, in their order.
func keyUsages(u x509.KeyUsage) (list []string) {
	for i, name := range []string{
		"Digital Signature", "Non Repudiation", "Key Encipherment", "Data Encipherment", "Key Agreement", "Certificate Sign", "CRL Sign",
		"Encipher Only", "Decipher Only",
	} {
		if u&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// extKeyUsages are names where there is one, otherwise object identifiers.
func extKeyUsages(cert *x509.Certificate) (list []string) {
	for _, u := range cert.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			list = append(list, "Server Authentication")
		case x509.ExtKeyUsageClientAuth:
			list = append(list, "Client Authentication")
		case x509.ExtKeyUsageCodeSigning:
			list = append(list, "Code Signing")
		case x509.ExtKeyUsageEmailProtection:
			list = append(list, "Email Protection")
		case x509.ExtKeyUsageTimeStamping:
			list = append(list, "Time Stamping")
		case x509.ExtKeyUsageOCSPSigning:
			list = append(list, "OCSP Signing")
		case x509.ExtKeyUsageAny:
			list = append(list, "Any Extended Key Usage")
		default:
			list = append(list, u.String())
		}
	}
	for _, oid := range cert.UnknownExtKeyUsage {
		list = append(list, oid.String())
	}
	return list
}
