package scm

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// enrollKeygen asks for a certificate for a key that is made here and kept.
func (s *Server) enrollKeygen(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("orgId", "certType", "commonName", "algorithm")
	commonName := o.Text("commonName", 64)
	key := serverKey(o)
	method := o.Text("keyGenerationMethod", 64)
	vault := o.Has("azureKeyVault") || o.Bool("reuseKey") || o.Bool("exportableKey") || o.Bool("hsmOnly")
	req, err := c.request(o)
	if err != nil {
		return err
	}
	switch {
	case method != "":
		return coded(http.StatusBadRequest, codeNoRight, problem.New(problem.Unauthorized, "keyGenerationMethod: there are no private key agents and no key vaults here; leave it out, and the gateway makes the key and keeps it"))
	case vault:
		return coded(http.StatusBadRequest, codeNoRight, problem.New(problem.Unauthorized, "azureKeyVault, reuseKey, exportableKey and hsmOnly are for key vaults, of which there are none here; leave them out"))
	case o.Has("passPhrase"):
		o.Refuse("passPhrase", "it is for private key agents; leave it out, a file with the key gets its password when it is downloaded")
		return o.Err()
	}
	first, err := parseName(commonName)
	if err != nil {
		o.Refuse("commonName", "%v", err)
		return o.Err()
	}
	others := slices.DeleteFunc(req.Names, func(n identifier.Identifier) bool { return n == first })
	req.Key, req.Names = key, append([]identifier.Identifier{first}, others...)
	return c.submit(req)
}

// serverKey reads the type of a key from algorithm and keyParam, or keySize as it was called before.
func serverKey(o *rest.Object) policy.KeyType {
	algorithm, param := strings.ToUpper(o.Text("algorithm", 32)), "keyParam"
	size := ""
	switch {
	case o.Has(param):
		size = o.Text(param, 32)
	case o.Has("keySize"):
		param = "keySize"
		size = strconv.FormatInt(o.Int(param, 1, math.MaxInt32), 10)
	}
	if o.Err() != nil {
		return ""
	}
	if algorithm != "RSA" && algorithm != "EC" && algorithm != "ECDSA" {
		o.Refuse("algorithm", "it is neither RSA nor EC")
		return ""
	}
	key, ok := map[string]policy.KeyType{
		"RSA 2048": policy.RSA2048, "RSA 3072": policy.RSA3072, "RSA 4096": policy.RSA4096,
		"EC P256": policy.ECDSAP256, "EC SECP256R1": policy.ECDSAP256, "EC PRIME256V1": policy.ECDSAP256, "EC 256": policy.ECDSAP256,
		"EC P384": policy.ECDSAP384, "EC SECP384R1": policy.ECDSAP384, "EC 384": policy.ECDSAP384,
		"EC P521": policy.ECDSAP521, "EC SECP521R1": policy.ECDSAP521, "EC 521": policy.ECDSAP521,
	}[strings.TrimSuffix(algorithm, "DSA")+" "+strings.ToUpper(strings.ReplaceAll(size, "-", ""))]
	if !ok {
		o.Refuse(param, "give 2048, 3072 or 4096 for RSA, P-256, P-384 or P-521 for EC")
	}
	return key
}
