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

	// Store is where the state is that gateways share. Without it the store is in the data folder, for this gateway alone.
	Store *storeConfig `yaml:"store"`

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

	// DrainDelay is how long a gateway that was told to stop goes on serving while /readyz says that it stops, so that a
	// balancer that asks for it turns away in time. Default 0s.
	DrainDelay duration `yaml:"drain_delay"`

	// Organisations are the tenants. The first is the one behind /acme/directory.
	Organisations []orgConfig              `yaml:"organisations"`
	Issuers       map[string]issuerConfig  `yaml:"issuers"`
	Profiles      map[string]profileConfig `yaml:"profiles"`
	// CustomFields are what organisations want to know of each certificate beside what is in it; profiles refer to them by name.
	CustomFields []customFieldConfig `yaml:"custom_fields"`
	// Domains says how domains of organisations are validated.
	Domains domainsConfig `yaml:"domains"`
	// CAAIdentities are the names by which CAA records mean this gateway, as in
	//   example.com. CAA 0 issue "ca.example.com"
	// They are needed as soon as a profile asks for CAA, and are shown in the ACME directory.
	CAAIdentities []string    `yaml:"caa_identities"`
	ACME          acmeConfig  `yaml:"acme"`
	Seal          *sealConfig `yaml:"seal"`
	// PrivateKeys is about those that are made and kept here.
	PrivateKeys privateKeysConfig `yaml:"private_keys"`
	Validation  validationConfig  `yaml:"validation"`
	CRL         crlConfig         `yaml:"crl"`
	// Mail is the server that takes the gateway's mail, and Notify says who is told of what (docs/mail.md).
	Mail   *mailConfig    `yaml:"mail"`
	Notify []notifyConfig `yaml:"notify"`
	// Limits bound what clients may ask of the ACME door; docs/limits.md has the defaults.
	Limits limitsConfig `yaml:"limits"`
	// RequestValidation is how requests by doors other than ACME are validated one by one.
	RequestValidation requestValidationConfig `yaml:"request_validation"`
	// WaitingRequests bounds how many requests may wait for approval.
	WaitingRequests waitingConfig `yaml:"waiting_requests"`
	// Imports bounds how much one organisation may have that was imported.
	Imports importsConfig `yaml:"imports"`
	// RevokeReplaced is how long after its successor was issued a certificate that was replaced is revoked as superseded, 1s to
	// 365d. A renewal revokes nothing. Absent: it is not revoked.
	RevokeReplaced duration `yaml:"revoke_replaced"`
	// SCM is about the door for programs that were written for SCM.
	SCM scmConfig `yaml:"scm"`

	source *source // where the words stand, for errors found later
}

// tlsConfig is the certificate of the listener. Either it is in PEM files, which are read again when they change, or the
// gateway issues it itself, keeps it in the data folder and renews it after two thirds of its life.
type tlsConfig struct {
	Cert string `yaml:"cert"` // leaf first, then its chain
	Key  string `yaml:"key"`  // mode 0600

	// Issuer and Names make it the gateway's own: a name under issuers, which must not serve public trust, and the names and
	// addresses by which clients reach the gateway, those of public_urls first of all. No wildcards. They are not validated.
	Issuer   string   `yaml:"issuer"`
	Names    []string `yaml:"names"`
	Validity duration `yaml:"validity"` // of the gateway's own; default 30d, at least 1h

	// ClientCertificates is off (default) or on: each client is asked for a certificate, which it need not have, so that principals
	// can be known by theirs below /private/api (docs/access.md). It is for a listener that clients reach without a proxy that ends TLS.
	ClientCertificates string `yaml:"client_certificates"`
}

// storeConfig says where the gateway's state is. Without it, or empty, it is embedded: in the folder "store" of the data
// folder, for this gateway alone.
type storeConfig struct {
	Redis *redisConfig `yaml:"redis"`
}

// redisConfig is a Redis that any number of gateways share: one server, a primary behind Sentinel, or a Cluster. The gateway
// refuses a server that would not keep what it acknowledged: it needs appendonly yes, appendfsync always and
// maxmemory-policy noeviction.
type redisConfig struct {
	// Addresses are host:port: of the server; with master_name of the sentinels; with cluster of some nodes.
	Addresses []string `yaml:"addresses"`
	// MasterName is the name by which the sentinels know the primary.
	MasterName string `yaml:"master_name"`
	// Cluster says that the addresses are nodes of a Redis Cluster; the deployment lies in one of its slots.
	Cluster bool `yaml:"cluster"`
	// Name of the deployment, in every key: deployments of different names may share a server. Default gatehouse.
	Name string `yaml:"name"`

	Username string `yaml:"username"` // of the ACL user; without it the default user
	// Password is a file of mode 0600 or env:NAME, never the password itself; so is SentinelPassword.
	Password         string    `yaml:"password"`
	SentinelUsername string    `yaml:"sentinel_username"` // the same for the sentinels
	SentinelPassword string    `yaml:"sentinel_password"`
	TLS              *redisTLS `yaml:"tls"`

	// MinReplicas must have a commit before it is acknowledged. Set it to 1 at least wherever there are replicas: without it
	// a failover loses what was acknowledged last.
	MinReplicas    int      `yaml:"min_replicas"`
	ReplicaTimeout duration `yaml:"replica_timeout"` // how long to wait for them; default 1s
	// AllowEverySec accepts appendfsync everysec, with which a crash of the server loses two seconds of acknowledged commits.
	AllowEverySec bool     `yaml:"allow_everysec"`
	Timeout       duration `yaml:"timeout"`     // of one round trip; default 3s
	Connections   int      `yaml:"connections"` // at most so many; default 64
}

// redisTLS is how Redis is spoken to over TLS; empty, it trusts the system's roots.
type redisTLS struct {
	CA         string `yaml:"ca"`          // PEM of the roots to trust instead
	Cert       string `yaml:"cert"`        // PEM of a client certificate
	Key        string `yaml:"key"`         // its key, mode 0600
	ServerName string `yaml:"server_name"` // default: the host of each address
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
	Parent   string   `yaml:"parent"`   // slug of the organisation above, which is in this list, too; absent: none
	Profiles []string `yaml:"profiles"` // that it may use, of those that its parent may; absent: all of them
	// EAB says whether new accounts at /acme/in/{slug}/directory must be bound to the organisation by a key that gatehouse
	// eab add makes (RFC 8555, 7.3.4): off, optional or required. Absent: as its parent; without one, of the first
	// organisation, as eab under acme says, and of others off.
	EAB string `yaml:"eab"`
	// AllowNames and DenyNames are as those of profiles, for all that it and those below it ask for: each level can only narrow
	// what those above leave. Absent: the profiles alone decide.
	AllowNames []string `yaml:"allow_names"`
	DenyNames  []string `yaml:"deny_names"`
}

// sealConfig is what secrets in the store are sealed with: MAC keys of external account bindings. Several gateways on one
// store need the same. Without it no such secret can be made.
type sealConfig struct {
	// Key seals, and opens what it has sealed. It is a file of mode 0600 or env:NAME with 32 octets in base64 or hexadecimal
	// digits (openssl rand -base64 32), or an RSA key on a PKCS#11 token, written as that of an issuer.
	Key string `yaml:"key"`
	// Old keys open what they have sealed. One can go once gatehouse seal list shows nothing under it.
	Old []string `yaml:"old"`
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
	Number         int32         `yaml:"number"` // above zero, unique; absent: none
	Issuer         string        `yaml:"issuer"` // a name under issuers
	Mode           string        `yaml:"mode"`   // private (default) or public
	Validity       duration      `yaml:"validity"`
	Terms          []duration    `yaml:"terms"` // validities that a request may choose from, in whole days; absent: validity alone
	Backdate       duration      `yaml:"backdate"`
	Requested      string        `yaml:"requested_validity"` // refuse (default) or clamp
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
	DCV            string        `yaml:"dcv"` // request (default), domain or none
	DCVMethods     []string      `yaml:"dcv_methods"`
	ProofLifetime  duration      `yaml:"proof_lifetime"`
	// Proofs of domains that an organisation owns, or that are delegated to it, stand for a validation (docs/domains.md).
	DelegatedDomains    bool        `yaml:"delegated_domains"`
	DomainProofLifetime duration    `yaml:"domain_proof_lifetime"` // default 90d, 10d in public mode
	PrivateRanges       []string    `yaml:"private_ranges"`        // CIDR
	CAA                 string      `yaml:"caa"`                   // off (default in private mode) or on
	CAALifetime         duration    `yaml:"caa_lifetime"`
	DNSSEC              string      `yaml:"dnssec"`           // off (default in private mode), opportunistic or require
	MandatoryFields     []string    `yaml:"mandatory_fields"` // names of custom fields that each request must have, but for ACME
	Quota               quotaConfig `yaml:"quota"`
	ServerKeys          string      `yaml:"server_keys"` // off (default) or on: private keys are made and kept here (docs/keys.md)
	Approvals           approvals   `yaml:"approvals"`
}

// approvals is policy.ApprovalRule as it is written (docs/approvals.md).
type approvals struct {
	Required int      `yaml:"required"` // how many other people must approve, 1 to 5; absent: none
	Role     string   `yaml:"role"`     // theirs: approver (default) or administrator
	Lifetime duration `yaml:"lifetime"` // of an approval, and of a request that waits for it; default 7d
	BindKey  bool     `yaml:"bind_key"` // an approval is for one key, also of ACME clients
	Renewals string   `yaml:"renewals"` // free (default): none while an approved one of the same content is good; approve
}

// quotaConfig is policy.Quota as it is written: how many certificates one organisation may hold at a time.
type quotaConfig struct {
	Certificates int `yaml:"certificates"` // absent: any number
	PerName      int `yaml:"per_name"`     // of those, with any one name; absent: any number
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
	TermsURL              string   `yaml:"terms_url"`              // terms that accounts must agree to, again once this changes; absent: none
	Website               string   `yaml:"website"`                // shown in the directory
	OrderLifetime         duration `yaml:"order_lifetime"`         // default 7d
	AuthorizationLifetime duration `yaml:"authorization_lifetime"` // of a pending one; default 7d
	EAB                   string   `yaml:"eab"`                    // of /acme/directory: off (default), optional or required
}

// validationConfig is how control over names is proven.
type validationConfig struct {
	// Resolvers are DNS servers that resolve every name, in order of preference: host:port, or tls://host:port#name to ask
	// over TLS (RFC 7858), where name is the one of its certificate, by default host. Default: those of /etc/resolv.conf.
	Resolvers []string `yaml:"resolvers"`
	// ResolverCA is PEM of the roots that certify resolvers over TLS; default: the system's.
	ResolverCA string `yaml:"resolver_ca"`
	// TrustedResolvers are those resolvers that are believed when they say that they validated DNSSEC, though nothing but the
	// network protects their word. Those over TLS and at loopback addresses always are.
	TrustedResolvers []string     `yaml:"trusted_resolvers"`
	DNSSECProbe      *dnssecProbe `yaml:"dnssec_probe"` // where a profile requires DNSSEC: what the start asks

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
	if err := c.requireTLS(need); err != nil {
		faults = append(faults, err)
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
