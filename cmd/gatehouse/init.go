package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// initCmd makes, in a new folder, what a gateway needs: a root, an issuer that it certifies, and a configuration. It asks
// nothing, overwrites nothing, and talks to nobody.
type initCmd struct {
	Folder string `arg:"" help:"Folder to make it in. What it holds already is left alone, and none of it may bear a name that init writes." type:"path"`

	Name       string   `help:"Begins the names of the root and of the issuer." default:"Gatehouse"`
	URL        string   `name:"url" help:"Public URL, by which clients reach the gateway. The default is for a try on one machine: https://localhost:8443" placeholder:"URL"`
	HTTPURL    string   `name:"http-url" help:"URL of CRLs and issuer certificates, written into every certificate. Default: the public URL's host, over http; for a try http://localhost:8080" placeholder:"URL"`
	Listen     string   `help:"Address of the doors, host:port. Default: every address, the port of the public URL."`
	HTTPListen string   `name:"http-listen" help:"Address for CRLs, issuer certificates and health. Default: every address, the port of --http-url."`
	Org        string   `help:"Slug of the organisation, as in /acme/in/main/directory." default:"main"`
	Data       string   `help:"Data folder of the gateway. Default: data, in the folder." type:"path"`
	Redis      []string `help:"Keep the state in the Redis at this address, host:port, where several gateways share it." placeholder:"ADDR"`
	RedisName  string   `name:"redis-master" help:"Name of the primary, where --redis are sentinels; repeat --redis for each."`
	Cluster    bool     `name:"redis-cluster" help:"The Redis is a Cluster; repeat --redis for some of its nodes."`

	IfAbsent bool `help:"Do nothing, and succeed, where an earlier init is complete; the other flags are not looked at then."`
	JSON     bool `help:"Print JSON."`
}

const (
	tryURL     = "https://localhost:8443"
	tryHTTPURL = "http://localhost:8080"
)

// plan is what an init makes, checked.
type plan struct {
	folder, name, org, data  string
	publicURL, httpURL       string
	listen, httpListen, host string
	redis                    []string
	redisMaster              string
	redisCluster             bool
	forATry                  bool
	now                      time.Time
}

func (c *initCmd) Run(s streams) error {
	state, err := lookAtInit(c.Folder)
	if err != nil {
		return err
	}
	switch {
	case state.complete && c.IfAbsent:
		return c.report(s.out, &initReport{Folder: c.Folder, Config: state.config()})
	case state.complete:
		return fmt.Errorf("%s holds a certificate authority already, and nothing of it is changed; use it (gatehouse check --config %s), or choose another folder", c.Folder, state.config())
	case len(state.present) > 0:
		return fmt.Errorf("%s holds %s but no configuration: an init that was ended halfway, or one that is running. Nothing uses these files yet and nothing was changed; remove them (%s) and run init again",
			c.Folder, strings.Join(state.present, ", "), "rm -r "+strings.Join(state.paths(), " "))
	}
	p, err := c.plan(time.Now())
	if err != nil {
		return err
	}
	report, err := p.make()
	if err != nil {
		return err
	}
	return c.report(s.out, report)
}

// plan fills in what is not given and checks everything, so that what is wrong is said before anything is written.
func (c *initCmd) plan(now time.Time) (*plan, error) {
	p := &plan{
		folder: c.Folder, name: c.Name, org: c.Org, data: cmp.Or(c.Data, filepath.Join(c.Folder, "data")), now: now,
		publicURL: cmp.Or(c.URL, tryURL), httpURL: c.HTTPURL, redis: c.Redis, redisMaster: c.RedisName, redisCluster: c.Cluster,
		forATry: c.URL == "",
	}
	flag := func(name string, err error) error { return fmt.Errorf("--%s: %w", name, err) }
	if err := plainURL(p.publicURL, "https", "http"); err != nil {
		return nil, flag("url", err)
	}
	public, _ := url.Parse(p.publicURL)
	p.host = public.Hostname()
	if public.Path != "" {
		return nil, flag("url", fmt.Errorf("%q has a path; the doors are at the root of a host", p.publicURL))
	}
	if _, err := parseOwnName(p.host); err != nil {
		return nil, flag("url", err)
	}
	if p.httpURL == "" {
		if p.httpURL = "http://" + bracketed(p.host); p.forATry {
			p.httpURL = tryHTTPURL
		}
	}
	if err := plainURL(p.httpURL, "http"); err != nil {
		return nil, flag("http-url", err)
	}
	plain, _ := url.Parse(p.httpURL)
	p.listen = cmp.Or(c.Listen, ":"+portOf(public))
	p.httpListen = cmp.Or(c.HTTPListen, ":"+portOf(plain))
	for name, addr := range map[string]string{"listen": p.listen, "http-listen": p.httpListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, flag(name, fmt.Errorf("%q is not host:port, as in :443", addr))
		}
	}
	if p.listen == p.httpListen {
		return nil, flag("http-listen", fmt.Errorf("%s is the address of the doors; CRLs need another, because they are served without TLS", p.listen))
	}
	if err := checkName(p.name); err != nil {
		return nil, flag("name", err)
	}
	if _, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: p.org, Name: p.org}}); err != nil {
		return nil, flag("org", errors.New(strings.TrimPrefix(err.Error(), "organisations: ")))
	}
	return p, c.checkRedis(p)
}

func (c *initCmd) checkRedis(p *plan) error {
	switch {
	case len(p.redis) == 0 && (p.redisMaster != "" || p.redisCluster):
		return errors.New("--redis is missing: --redis-master and --redis-cluster say what the servers at its addresses are")
	case len(p.redis) == 0:
		return nil
	}
	config := redis.Config{Addrs: p.redis, MasterName: p.redisMaster, Cluster: p.redisCluster}
	if err := config.Check(); err != nil {
		return fmt.Errorf("--redis: %w", err)
	}
	return nil
}

// checkName holds a name to what stands well in a certificate's subject: with what is appended it must fit into the 64
// characters of a common name (RFC 5280, A.1: ub-common-name).
func checkName(name string) error {
	if strings.TrimSpace(name) != name || name == "" || utf8.RuneCountInString(name) > 40 || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q is no name of 1 to 40 characters without spaces at its ends", name)
	}
	return nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// bracketed is a host as it stands in a URL (RFC 3986, 3.2.2).
func bracketed(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		return "[" + host + "]"
	}
	return host
}

// report prints what was made and what to do next.
func (c *initCmd) report(w io.Writer, r *initReport) error {
	if c.JSON {
		return writeJSON(w, r)
	}
	return r.print(w)
}
