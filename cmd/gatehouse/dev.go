package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// devFlags describe a throw-away gateway. None of them exists for a gateway with a configuration file.
type devFlags struct {
	Listen      string `group:"Throw-away gateway" help:"Address of the doors (127.0.0.1:14000)."`
	HTTPListen  string `group:"Throw-away gateway" help:"Address for CRLs, issuer certificates and health (127.0.0.1:14001)."`
	AdminListen string `group:"Throw-away gateway" help:"Address of metrics and profiling (none)."`
	HTTP01Port  uint16 `group:"Throw-away gateway" name:"http01-port" help:"The port that http-01 validations contact (5002)."`
	TLSALPNPort uint16 `group:"Throw-away gateway" name:"tls-alpn-01-port" help:"The port that tls-alpn-01 validations contact (5001)."`
	DCVMethods  string `group:"Throw-away gateway" name:"dcv-methods" placeholder:"METHOD,…" help:"Validation methods to offer (http-01,dns-01,tls-alpn-01)."`
	Resolver    string `group:"Throw-away gateway" help:"DNS server, host:port. Without it every name is 127.0.0.1, and records can be added by dynamic update (RFC 2136, nsupdate) at the address that is printed."`
	Approvals   int    `group:"Throw-away gateway" help:"How many people must approve each certificate, as gatehouse request does it (0)."`
	Quota       int    `group:"Throw-away gateway" help:"How many certificates may be held at a time (any number)."`
	Domains     bool   `group:"Throw-away gateway" name:"delegated-domains" help:"Let the proofs of domains, as gatehouse domain makes them, stand for validations."`
	ServerKeys  bool   `group:"Throw-away gateway" name:"server-keys" help:"Let private keys be made and kept here."`
	PlainHTTP   bool   `group:"Throw-away gateway" name:"plain-http" help:"Serve the doors without TLS."`

	PublicURL string `group:"Throw-away gateway" name:"public-url" help:"URL by which clients reach the doors, if that is not --listen: of a balancer, for example."`
	HTTPURL   string `group:"Throw-away gateway" name:"http-url" help:"The same for --http-listen."`

	DrainDelay time.Duration `group:"Throw-away gateway" help:"How long to go on serving after SIGTERM while /readyz says that it stops (0s)."`

	Redis            string `group:"Throw-away gateway" placeholder:"HOST:PORT,…" help:"Keep the state in this Redis instead of the data folder; with --redis-master the addresses are the sentinels', with --redis-cluster some nodes'."`
	RedisMaster      string `group:"Throw-away gateway" help:"The name by which the sentinels know the primary."`
	RedisCluster     bool   `group:"Throw-away gateway" help:"The Redis is a Cluster."`
	RedisName        string `group:"Throw-away gateway" help:"The deployment's name in every key; deployments of different names share a Redis (gatehouse)."`
	RedisMinReplicas int    `group:"Throw-away gateway" help:"Replicas that must have a commit before it is acknowledged (0)."`

	DieAt   string `hidden:"" help:"Tests: end the process without warning: step=N:COUNT, before=KEY:COUNT or after=KEY:COUNT."`
	StopAt  string `hidden:"" help:"Tests: the same, but stop it until SIGCONT."`
	Stock   bool   `hidden:"" help:"Know the organisations and profiles that bench load makes enrollments of."`
	Witness string `hidden:"" help:"Tests: append everything that the signer is given to this file."`
}

// given reports whether any of the flags is set.
func (f devFlags) given() bool { return f != devFlags{} }

// withDefaults fills in what is not set. The flags themselves have no defaults, so that one that was given in vain is seen.
func (f devFlags) withDefaults() devFlags {
	f.Listen = cmp.Or(f.Listen, "127.0.0.1:14000")
	f.HTTPListen = cmp.Or(f.HTTPListen, "127.0.0.1:14001")
	f.HTTP01Port = cmp.Or(f.HTTP01Port, 5002)
	f.TLSALPNPort = cmp.Or(f.TLSALPNPort, 5001)
	f.DCVMethods = cmp.Or(f.DCVMethods, "http-01,dns-01,tls-alpn-01")
	return f
}

// dev is a throw-away gateway's surroundings.
type dev struct {
	*settings
	folder  string
	http01  uint16 // the port that http-01 validations contact
	tlsALPN uint16 // the port that tls-alpn-01 validations contact
	root    string // the file with the root certificate
	dns     *testca.DNS
}

// newDev prepares a throw-away gateway in a folder: a hierarchy that is made the first time and kept with the folder, and
// a DNS server for which every name is this machine.
func newDev(folder string, f devFlags, log *slog.Logger) (_ *dev, err error) {
	f = f.withDefaults()
	d := &dev{folder: folder, http01: f.HTTP01Port, tlsALPN: f.TLSALPNPort}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	resolver := f.Resolver
	if resolver == "" {
		d.dns, err = testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Updates: true})
		if err != nil {
			return nil, fmt.Errorf("starting the throw-away DNS server: %w", err)
		}
		resolver = d.dns.Addr()
	}
	hierarchyFolder := filepath.Join(folder, "throw-away-ca")
	hierarchy, err := testca.Load(hierarchyFolder)
	if errors.Is(err, os.ErrNotExist) {
		if hierarchy, err = testca.NewHierarchy(testca.HierarchyConfig{}); err == nil {
			_, err = hierarchy.Write(hierarchyFolder)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the throw-away hierarchy: %w", err)
	}
	d.root = filepath.Join(hierarchyFolder, "root.pem")
	if d.settings, err = devSettings(folder, f, hierarchy, resolver, log); err == nil {
		d.settings.sealer, err = throwAwaySealer(hierarchyFolder)
	}
	return d, err
}

func (d *dev) close() {
	if d.dns != nil {
		d.dns.Close()
	}
}

func devSettings(folder string, f devFlags, h *testca.Hierarchy, resolver string, log *slog.Logger) (*settings, error) {
	signer, err := witnessed(h.Intermediate.Key, f.Witness)
	if err != nil {
		return nil, err
	}
	backend, err := ca.NewSoftCAS(h.Chain(), signer)
	if err != nil {
		return nil, err
	}
	var methods []dcv.Method
	for m := range strings.SplitSeq(f.DCVMethods, ",") {
		methods = append(methods, dcv.Method(m))
	}
	profile, err := policy.New(policy.Config{
		Name: "dev", Number: 1, Description: "Throw-away certificates for any name", Issuer: "dev", Validity: 24 * time.Hour,
		Backdate: time.Minute, AllowWildcards: slices.Contains(methods, dcv.DNS01), DCVMethods: methods,
		Approvals: policy.ApprovalRule{Required: f.Approvals}, DelegatedDomains: f.Domains, ServerKeys: serverKeyRule(f.ServerKeys), Quota: policy.Quota{Certificates: f.Quota},
	})
	if err != nil {
		return nil, err
	}
	profiles, orgs := map[string]*policy.Profile{profile.Name(): profile}, []auth.Org{{ID: 1, Slug: "dev", Name: "Throw-away organisation"}}
	if f.Stock {
		if orgs, err = addStock(profiles, orgs); err != nil {
			return nil, err
		}
	}
	organisations, err := auth.NewDirectory(orgs, slices.Sorted(maps.Keys(profiles))...)
	if err != nil {
		return nil, err
	}
	s := &settings{
		folder: folder, drainDelay: f.DrainDelay, listen: f.Listen, httpListen: f.HTTPListen, adminListen: f.AdminListen,
		organisations: organisations, eab: auth.EABOff, cnameTarget: "dcv.gatehouse.test", // RFC 6761, 6.2: nobody's
		issuers:  []ca.Issuer{issuer("dev", cmp.Or(f.HTTPURL, "http://"+f.HTTPListen), append(h.Chain(), h.Root.Certificate), backend, 0, 0)},
		profiles: profiles, defaultProfile: "dev",
		validation: dcv.Config{
			Resolver: dcv.ResolverConfig{Servers: []string{resolver}}, HTTPPort: f.HTTP01Port, TLSALPNPort: f.TLSALPNPort, AllowLoopback: true,
			MaxConcurrent: 512, MaxPerTarget: 512, // every name is one machine here
		},
		log: log,
	}
	if s.redis, err = f.redisConfig(); err != nil {
		return nil, err
	}
	scheme := "https"
	if f.PlainHTTP {
		scheme = "http"
	} else if s.tls, err = devTLS(h, f.Listen); err != nil {
		return nil, err
	}
	s.publicURLs = []string{scheme + "://" + f.Listen}
	if f.PublicURL != "" {
		if err := plainURL(f.PublicURL, "https", "http"); err != nil {
			return nil, fmt.Errorf("--public-url: %w", err)
		}
		s.publicURLs = []string{f.PublicURL, s.publicURLs[0]}
	}
	if host, port, err := net.SplitHostPort(f.Listen); err == nil && host == "127.0.0.1" {
		s.publicURLs = append(s.publicURLs, scheme+"://localhost:"+port)
	}
	return s, errors.Join(s.dieAt(f.DieAt), s.stopAt(f.StopAt))
}

// redisConfig is the store that the flags name, nil for the embedded one.
func (f devFlags) redisConfig() (*redis.Config, error) {
	if f.Redis == "" {
		if f.RedisMaster != "" || f.RedisCluster || f.RedisName != "" || f.RedisMinReplicas != 0 {
			return nil, errors.New("--redis-master, --redis-cluster, --redis-name and --redis-min-replicas go with --redis HOST:PORT")
		}
		return nil, nil
	}
	c := &redis.Config{
		Addrs: strings.Split(f.Redis, ","), MasterName: f.RedisMaster, Cluster: f.RedisCluster, Name: f.RedisName, MinReplicas: f.RedisMinReplicas,
	}
	return c, c.Check()
}

// devTLS is a certificate for the listener from the throw-away hierarchy. It is good for a day, as is everything here.
func devTLS(h *testca.Hierarchy, listen string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %q is not host:port", listen)
	}
	cert, err := h.Leaf("localhost", host)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}
