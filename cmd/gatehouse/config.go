package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// fileConfig is the configuration file, whole. The file is strict: an unknown word, a word given twice or a value of the
// wrong type is an error that names line and column. Durations are written "90d", "12h", "30s" or "1d12h". Relative paths
// are relative to the working directory.
type fileConfig struct {
	// Data is the folder of the gateway's state: store, journal and admin socket. It is made if absent; keep it on a local
	// file system. At most about 90 characters, because of the socket.
	Data string `yaml:"data"`

	// PublicURLs are the URLs by which clients reach the gateway, without a trailing slash, for example
	// https://ca.example.com. The first is written into every answer; all are accepted in requests. They are never taken
	// from a request.
	PublicURLs []string `yaml:"public_urls"`

	// Listen is the address of the doors, host:port. With tls it speaks HTTPS, without it plain HTTP for a proxy that ends
	// TLS in front.
	Listen string     `yaml:"listen"`
	TLS    *tlsConfig `yaml:"tls"`

	// TrustedProxies are the ranges of proxies in front of the doors, whose X-Forwarded-For says who the client is. Nobody
	// else's is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`

	// HTTP is the plain listener for CRLs, issuer certificates and health.
	HTTP httpConfig `yaml:"http"`

	// AdminListen is the address of metrics and profiling, on loopback. Default 127.0.0.1:9464; "off" opens none.
	AdminListen string `yaml:"admin_listen"`

	// Organisations are the tenants. The first is the one behind /acme/directory.
	Organisations []orgConfig              `yaml:"organisations"`
	Issuers       map[string]issuerConfig  `yaml:"issuers"`
	Profiles      map[string]profileConfig `yaml:"profiles"`
	ACME          acmeConfig               `yaml:"acme"`
	Validation    validationConfig         `yaml:"validation"`
	CRL           crlConfig                `yaml:"crl"`

	source *source // where the words stand, for errors found later
}

// tlsConfig names the certificate of the listener, PEM files that are read again when they change.
type tlsConfig struct {
	Cert string `yaml:"cert"` // leaf first, then its chain
	Key  string `yaml:"key"`  // mode 0600
}

// httpConfig is what relying parties reach without TLS.
type httpConfig struct {
	Listen string `yaml:"listen"` // host:port
	// URL is how relying parties reach it, without a trailing slash: it goes into every certificate as the place of the CRL
	// and of the issuer's certificate (RFC 5280, 4.2.1.13 and 4.2.2.1), so it must stay right for as long as they live.
	URL string `yaml:"url"`
}

// orgConfig is an organisation: accounts and certificates belong to one and are never seen by another.
type orgConfig struct {
	ID       int32    `yaml:"id"`       // above zero, never changed
	Slug     string   `yaml:"slug"`     // in URLs: /acme/in/{slug}/directory
	Name     string   `yaml:"name"`     // for people
	Profiles []string `yaml:"profiles"` // that it may use; absent: all
}

// issuerConfig is a signing key, by the name that profiles and the URLs of CRLs use; never rename one that has issued.
type issuerConfig struct {
	Chain string `yaml:"chain"` // PEM: the issuer's certificate, then what certified it
	// Alternates are further chains for the same key and name, a PEM file each, the issuer's certificate first: clients are
	// offered them beside the default (RFC 8555, 7.4.2). Add new ones at the end, because a chain's place is in its URL.
	Alternates []string `yaml:"alternates"`
	// Key is a PEM file, unencrypted, mode 0600, or a key on a PKCS#11 token (RFC 7512):
	//   pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/gatehouse/pin
	// where pin-source is a file of mode 0600 or env:NAME. A PIN in the URI itself is refused.
	Key         string   `yaml:"key"`
	Concurrency int      `yaml:"concurrency"`  // signatures at once; default 16
	SignTimeout duration `yaml:"sign_timeout"` // of one signature; default 10s
}

// profileConfig is what may be issued: policy.Config as it is written, where each word is explained.
type profileConfig struct {
	Description    string        `yaml:"description"`
	Issuer         string        `yaml:"issuer"` // a name under issuers
	Mode           string        `yaml:"mode"`   // private (default) or public
	Validity       duration      `yaml:"validity"`
	Backdate       duration      `yaml:"backdate"`
	KeyTypes       []string      `yaml:"key_types"`
	KeyUsages      []string      `yaml:"key_usages"`
	ExtKeyUsages   []string      `yaml:"ext_key_usages"`
	BlockedKeys    string        `yaml:"blocked_keys"` // file: a hex SHA-256 of a SubjectPublicKeyInfo per line
	AllowNames     []string      `yaml:"allow_names"`
	DenyNames      []string      `yaml:"deny_names"`
	AllowWildcards bool          `yaml:"allow_wildcards"`
	AllowInternal  *bool         `yaml:"allow_internal_names"`
	MaxNames       int           `yaml:"max_names"`
	CommonName     string        `yaml:"common_name"`
	Subject        subjectConfig `yaml:"subject"`
	SubjectFromCSR []string      `yaml:"subject_from_csr"`
	Lint           string        `yaml:"lint"`
	DCVMethods     []string      `yaml:"dcv_methods"`
	ProofLifetime  duration      `yaml:"proof_lifetime"`
	PrivateRanges  []string      `yaml:"private_ranges"` // CIDR
}

// subjectConfig is policy.Subject as it is written.
type subjectConfig struct {
	Country            string `yaml:"country"`
	Organization       string `yaml:"organization"`
	OrganizationalUnit string `yaml:"organizational_unit"`
	Locality           string `yaml:"locality"`
	Province           string `yaml:"province"`
}

// acmeConfig is the ACME door (RFC 8555).
type acmeConfig struct {
	DefaultProfile        string   `yaml:"default_profile"`        // may be absent if there is one profile
	TermsURL              string   `yaml:"terms_url"`              // terms that new accounts must agree to; absent: none
	Website               string   `yaml:"website"`                // shown in the directory
	OrderLifetime         duration `yaml:"order_lifetime"`         // default 7d
	AuthorizationLifetime duration `yaml:"authorization_lifetime"` // of a pending one; default 7d
}

// validationConfig is how control over names is proven.
type validationConfig struct {
	Resolvers []string `yaml:"resolvers"`  // host:port; default: those of /etc/resolv.conf
	Timeout   duration `yaml:"timeout"`    // of one validation; default 15s
	UserAgent string   `yaml:"user_agent"` // sent to the hosts that are validated
	// OwnAddresses are addresses by which the gateway itself can be reached, besides those it listens on, as address:port.
	// Validation never contacts them.
	OwnAddresses []string `yaml:"own_addresses"`
}

// crlConfig is when revocation lists are made besides after a revocation.
type crlConfig struct {
	Lifetime duration `yaml:"lifetime"` // nextUpdate − thisUpdate; default 24h
	Interval duration `yaml:"interval"` // a new list at least this often; default 1h
}

// duration is a time.Duration that is written with days: "90d", "1d12h".
type duration time.Duration

// UnmarshalYAML reads it; a bare number is refused, because its unit would be a guess.
func (d *duration) UnmarshalYAML(n ast.Node) error {
	v, err := parseDuration(n.GetToken().Value)
	if err != nil {
		return &placedError{n.GetToken(), err}
	}
	*d = duration(v)
	return nil
}

// maxDays is as many as a time.Duration counts.
const maxDays = uint64(math.MaxInt64 / (24 * time.Hour))

func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration; write for example 90d, 12h or 30s", text)
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "0", text
	}
	count, err := strconv.ParseUint(days, 10, 64)
	if err != nil || count > maxDays {
		return 0, bad
	}
	sum := time.Duration(count) * 24 * time.Hour
	if hasDays && rest == "" {
		return sum, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || sum > math.MaxInt64-more {
		return 0, bad
	}
	return sum + more, nil
}

// readConfig reads a file and checks its form; what the words mean is checked as the parts are built.
func readConfig(path string) (*fileConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parseConfig(path, text)
}

func parseConfig(path string, text []byte) (*fileConfig, error) {
	src, err := parseSource(path, text)
	if err != nil {
		return nil, err
	}
	c := &fileConfig{}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, src.explain(err)
	}
	c.source = src
	return c, c.require()
}

// require refuses a file that lacks what has no default, and fills in what has one.
func (c *fileConfig) require() error {
	var faults []error
	need := func(given bool, path, example string) {
		if !given {
			faults = append(faults, c.source.at(path, fmt.Errorf("%s is missing; add for example %s", path, example)))
		}
	}
	need(c.Data != "", "data", "data: /var/lib/gatehouse")
	need(len(c.PublicURLs) > 0, "public_urls", "public_urls: [https://ca.example.com]")
	need(c.Listen != "", "listen", "listen: :443")
	need(c.HTTP.Listen != "", "http.listen", "http: {listen: :80, url: http://ca.example.com}")
	need(c.HTTP.URL != "", "http.url", "http: {listen: :80, url: http://ca.example.com}")
	if c.TLS != nil {
		need(c.TLS.Cert != "", "tls.cert", "tls: {cert: tls.pem, key: tls.key}")
		need(c.TLS.Key != "", "tls.key", "tls: {cert: tls.pem, key: tls.key}")
	}
	need(len(c.Organisations) > 0, "organisations", "organisations: [{id: 1, slug: main, name: Main}]")
	need(len(c.Issuers) > 0, "issuers", "issuers: {main: {chain: issuer.pem, key: issuer.key}}")
	for _, name := range slices.Sorted(maps.Keys(c.Issuers)) {
		need(c.Issuers[name].Chain != "", "issuers."+name+".chain", "chain: issuer.pem")
		need(c.Issuers[name].Key != "", "issuers."+name+".key", "key: issuer.key")
	}
	need(len(c.Profiles) > 0, "profiles", "profiles: {tls: {issuer: main, validity: 90d}}")
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		need(c.Profiles[name].Issuer != "", "profiles."+name+".issuer", "issuer: main")
	}
	if c.AdminListen == "" {
		c.AdminListen = "127.0.0.1:9464"
	}
	return errors.Join(faults...)
}
