package conformance

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// certID is RFC 9773, 4.1.
func certID(i issued) string {
	serial := i.leaf.SerialNumber.Bytes()
	if serial[0]&0x80 != 0 { // as DER has it
		serial = append([]byte{0}, serial...)
	}
	return b64(i.leaf.AuthorityKeyId) + "." + b64(serial)
}

// window asks for a certificate's renewal information.
func (c *client) window(t *testing.T, i issued) (start, end time.Time) {
	t.Helper()
	var info struct{ SuggestedWindow struct{ Start, End string } }
	c.plain(t, http.MethodGet, c.url("renewalInfo")+"/"+certID(i)).want(t, http.StatusOK).into(t, &info)
	return timestamp(t, info.SuggestedWindow.Start), timestamp(t, info.SuggestedWindow.End)
}

// replacing is an order for names that replaces a certificate.
func replacing(i issued, names ...string) map[string]any {
	request := dnsNames(names...)
	request["replaces"] = certID(i)
	return request
}

func rfc9773() []row {
	return []row{
		{section: "3", name: "directory", rule: "renewalInfo is in the directory",
			accepts: func(t *testing.T, g *gateway) {
				if url := g.stranger(t).url("renewalInfo"); !strings.HasPrefix(url, g.base+"/") {
					t.Errorf("renewalInfo is %q", url)
				}
			}},
		{section: "4.1", name: "identifier", rule: "A certificate is named by its authority key identifier and its serial number, both in base64url without padding",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.window(t, c.issue(t, g.name()))
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				aki, serial, _ := strings.Cut(certID(i), ".")
				for _, id := range []string{
					aki + "=." + serial, aki + "." + serial + "=", aki, aki + serial, serial + "." + aki, "." + serial, aki + ".",
					aki + "." + b64(append([]byte{0}, i.leaf.SerialNumber.Bytes()...)), aki + "." + serial + ".",
				} {
					if a := c.plain(t, http.MethodGet, c.url("renewalInfo")+"/"+id); a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
						t.Errorf("%s: %d", id, a.status)
					}
				}
				c.plain(t, http.MethodGet, c.url("renewalInfo")+"/"+aki+"."+b64([]byte{1, 2, 3})).refused(t, http.StatusNotFound, "malformed")
			}},
		{section: "4.2", name: "window", rule: "The end of a window is after its start",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				for range 2 {
					if start, end := c.window(t, i); !end.After(start) {
						t.Errorf("from %v to %v", start, end)
					}
					if i.leaf.NotAfter.After(time.Now()) && c.revoke(t, i).status != http.StatusOK { // and so that of a revoked one
						return
					}
				}
			}},
		{section: "5", name: "already-replaced", rule: "A certificate that another order replaces already is answered with 409 and alreadyReplaced",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				i := c.issue(t, name)
				c.complete(t, c.orderOf(t, replacing(i, name)), name)
			},
			refuses: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				i := c.issue(t, name)
				c.orderOf(t, replacing(i, name))
				c.post(t, c.url("newOrder"), replacing(i, name)).refused(t, http.StatusConflict, "alreadyReplaced")
				c.post(t, c.url("newOrder"), replacing(i, g.name())).want(t, http.StatusBadRequest) // no name in common
				elsewhere := g.at(t, g.base+"/acme/in/other/directory", newKey(t)).register(t)
				elsewhere.post(t, elsewhere.url("newOrder"), replacing(i, name)).refused(t, http.StatusNotFound, "malformed")
			}},
		{section: "5", name: "reflected", rule: "replaces is in the answer to newOrder and in every later answer about the order",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				i := c.issue(t, name)
				o := c.orderOf(t, replacing(i, name))
				later := c.look(t, o)
				done := c.complete(t, o, name).order
				last := c.look(t, o)
				for _, seen := range []order{o, later, done, last} {
					if seen.Replaces != certID(i) {
						t.Errorf("replaces is %q when the order is %s", seen.Replaces, seen.Status)
					}
				}
			}},
	}
}
