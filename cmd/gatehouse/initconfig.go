package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"text/template"
)

// configuration is the file that starts a gateway as it is, with a line about each section.
func (p *plan) configuration() []byte {
	var b bytes.Buffer
	err := configTemplate.Execute(&b, map[string]any{
		"Data": yamlText(p.data), "URL": yamlText(p.publicURL), "Listen": yamlText(p.listen), "HTTPListen": yamlText(p.httpListen),
		"HTTPURL": yamlText(p.httpURL), "Host": yamlText(p.host), "Org": yamlText(p.org), "Redis": p.redisText(),
		"TLS": strings.HasPrefix(p.publicURL, "https:"), "Issuer": initIssuer,
		"Chain": yamlText(filepath.Join(p.issuerFolder(), "issuer.pem")), "Key": yamlText(filepath.Join(p.issuerFolder(), "issuer.key")),
		"SealKey": yamlText(filepath.Join(p.folder, initSealKey)),
	})
	if err != nil { // cannot happen: texts and truths into a fixed template
		panic("init: " + err.Error())
	}
	return b.Bytes()
}

// redisText is what stands behind "redis:", or nothing.
func (p *plan) redisText() string {
	if len(p.redis) == 0 {
		return ""
	}
	var addresses []string
	for _, a := range p.redis {
		addresses = append(addresses, yamlText(a))
	}
	text := "addresses: [" + strings.Join(addresses, ", ") + "]"
	if p.redisMaster != "" {
		text += ", master_name: " + yamlText(p.redisMaster)
	}
	if p.redisCluster {
		text += ", cluster: true"
	}
	return "{" + text + "}"
}

// yamlText is a text in YAML's double quotes, which hold JSON's strings.
func yamlText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

var configTemplate = template.Must(template.New("gatehouse.yaml").Parse(`# Configuration of a Gatehouse gateway. It is strict: "gatehouse check --config" of this file names line and column of
# what is wrong. Durations are written 90d, 12h, 30s. Every word is explained in cmd/gatehouse/config.go of the source.

# The state of this gateway alone: journal, certificate of the listener, admin socket, and the store unless it is in Redis.
# Keep it on a local disk. Of several gateways with this file each has its own: serve --data FOLDER.
data: {{.Data}}

# How clients reach the gateway. The first is written into every answer.
public_urls: [{{.URL}}]

# The address of the doors{{if .TLS}} and their certificate, which the gateway issues and renews itself, for these names.
# Instead of it: tls: {cert: FILE, key: FILE}
listen: {{.Listen}}
tls: {issuer: {{.Issuer}}, names: [{{.Host}}]}
{{- else}}, without TLS, because the public URL has none. For TLS: an https URL, and tls: {issuer: {{.Issuer}}, names: [{{.Host}}]}
listen: {{.Listen}}
{{- end}}

# Proxies that may say in X-Forwarded-For who the client is. None: a balancer that passes TCP on needs no entry.
# trusted_proxies: [192.0.2.0/28]

# How much one client may ask for; the defaults are in docs/limits.md of the source. All clients behind a balancer that passes
# TCP on have its address: name it here, or they share one client's limits.
# limits: {except: [192.0.2.7/32]}

# What relying parties fetch without TLS: CRLs, issuer certificates, health. The URL is written into every certificate and
# must stay right for as long as they live.
http: {listen: {{.HTTPListen}}, url: {{.HTTPURL}}}

# Metrics and profiling, on loopback; "off" opens none.
admin_listen: 127.0.0.1:9464

# How long a gateway that is told to stop still serves, while /readyz says "draining": longer than the balancer in front of
# several takes to notice.
{{if not .Redis}}# {{end}}drain_delay: 5s

# Where certificates, accounts and orders are kept.
{{- if .Redis}} It needs appendonly yes, appendfsync always, maxmemory-policy noeviction, and
# may need username, password (a file, or env:NAME), tls, and min_replicas where there are replicas.
store:
  redis: {{.Redis}}
{{- else}} Without this section: in the data folder, for one gateway.
# store: {redis: {addresses: ["127.0.0.1:6379"]}}
{{- end}}

# The tenants. Accounts and certificates belong to one; the first is behind /acme/directory. Never change a number.
organisations:
  - {id: 1, slug: {{.Org}}, name: {{.Org}}}

# What signs. Never rename an issuer that has issued. The key may be on a PKCS#11 token: docs/issuance.md.
issuers:
  {{.Issuer}}:
    chain: {{.Chain}}
    key: {{.Key}}

# What may be issued. Every name below allow_names, or any if there are none, whose owner proves control of it.
profiles:
  tls:
    issuer: {{.Issuer}}
    # What clients of SCM call it; never give it to another profile. Such clients need more: docs/dialects/scm.md of the source.
    number: 1
    validity: 90d
    backdate: 1m
    # allow_names: ["*.corp.example.com"]
    # Private addresses that validation may contact. Name the ranges of your own network alone.
    private_ranges: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "fc00::/7"]

# The ACME door. Website and terms are shown to clients. With eab: required a new account needs a key that was made for it
# (gatehouse eab add).
acme:
  default_profile: tls

# What secrets in the store are sealed with. Every gateway on the store needs this file, and whoever has a copy of the store
# needs it, too: keep a copy elsewhere. The key may be on a PKCS#11 token.
seal: {key: {{.SealKey}}}

# How names are looked up for validation. Without it: by the resolvers of /etc/resolv.conf.
# validation: {resolvers: ["192.0.2.53:53"]}

# A new revocation list at least every interval, and within a second of a revocation.
crl: {lifetime: 24h, interval: 1h}
`))
