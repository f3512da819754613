package scm

import (
	"context"
	"crypto/x509"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const (
	// maxZip is the most octets of a zip, and MaxUpload those of a body with one, the form around it included.
	maxZip    = 50 << 20
	MaxUpload = maxZip + 1<<20

	// uploadsAtOnce are worked on in all, uploadsEach of one organisation, and uploadsCustomer of one with all below it, which its
	// administrators make as many of as they like: no customer holds all places.
	uploadsAtOnce   = 4
	uploadsEach     = 2
	uploadsCustomer = 3

	// importBatch and importOctets are how many certificates of a zip are imported together, and of about how many octets.
	importBatch  = 250
	importOctets = 4 << 20
	// importPause is what a client waits whose import broke off.
	importPause = 30 * time.Second
	// importTime is how long the certificates of one zip are worked on: then the place is another upload's, and nobody waits for the answer
	// much longer.
	importTime = 8 * time.Minute
)

// zipLimits hold a certificate with ten issuers, each as large as one may be, in PEM.
var zipLimits = rest.ZipLimits{Files: 20_000, File: 1 << 20, Total: 200 << 20, Ratio: 100}

// IsUpload reports whether a request of this door may have a body of up to MaxUpload octets. Its caller is asked for before anything of
// that is read.
func IsUpload(r *http.Request) bool {
	at := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, PrivatePath), "/")
	return r.Method == http.MethodPost && rest.IsMultipart(r) && slices.ContainsFunc([]string{"v1", "v2"}, func(v string) bool { return at == "/api/ssl/"+v+"/import" })
}

// importReport is what became of the files of a zip.
type importReport struct {
	ProcessedCount int      `json:"processedCount"` // whose certificates are in the inventory now
	Errors         []string `json:"errors"`
}

// importZip brings the certificates of a zip into the inventory of one organisation.
func (s *Server) importZip(c *call) error {
	org, err := c.importOrganisation()
	if err != nil {
		return err
	}
	end, err := c.beginUpload()
	if err != nil {
		return recoded(err, problem.RateLimited, http.StatusTooManyRequests, codeRestricted)
	}
	defer end()
	file, err := rest.Spool(s.Spool, s.SpoolRoom)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := rest.ReadUpload(c.r, "file", maxZip, file)
	if err != nil {
		return err
	}
	z, err := rest.OpenZip(file, size, zipLimits)
	if err != nil {
		return err
	}
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithTimeout(c.ctx, importTime)
	defer cancel()
	i := zipImport{c: c, org: org, zip: z, failed: make([]string, len(z.Files()))}
	for n, f := range z.Files() {
		if err := i.add(n, f); err != nil {
			return err
		}
	}
	if err := i.flush(); err != nil {
		return err
	}
	i.report.Errors = slices.DeleteFunc(i.failed, func(text string) bool { return text == "" })
	return c.answer(i.report)
}

// beginUpload takes a place for an upload among those of the caller's organisation and of its customer; end gives it back.
func (c *call) beginUpload() (end func(), err error) {
	customer, err := c.s.customers.Begin(int32(c.s.Organisations.Customer(c.caller.Org)))
	if err != nil {
		return nil, err
	}
	org, err := c.s.uploads.Begin(int32(c.caller.Org))
	if err != nil {
		customer()
		return nil, err
	}
	return func() {
		org()
		customer()
	}, nil
}

// importOrganisation is the one that a zip is for, which the caller may import for.
func (c *call) importOrganisation() (auth.OrgID, error) {
	number, err := rest.QueryInt(c.query, "orgId", 1, math.MaxInt32)
	if err != nil {
		return 0, err
	}
	if number == 0 {
		return 0, problem.Wrap(rest.ErrMissing, problem.Malformed, "orgId is missing; name the organisation in the query, as ?orgId=1")
	}
	org, err := c.organisation(number)
	if err != nil {
		return 0, err
	}
	return org, c.s.Organisations.May(c.caller, auth.Request, org)
}

// zipImport is an import under way.
type zipImport struct {
	c   *call
	org auth.OrgID
	zip *rest.Zip

	items  []ra.ImportItem
	places []int // of items among the files
	octets int
	failed []string // by file; "": not so
	report importReport
}

// add reads a file. Once there are enough, they are imported.
func (i *zipImport) add(n int, f *rest.ZipFile) error {
	if err := i.c.ctx.Err(); err != nil { // the client has gone, or it takes too long; of a zip of rubbish nothing else would tell
		return i.brokeOff(err)
	}
	data, err := i.zip.Read(f)
	if problem.Is(err, problem.Unavailable) {
		return err
	}
	if err != nil {
		i.failed[n] = f.Name + " - " + explain(err)
		return nil
	}
	item, err := certificateFile(f.Name, data)
	if err != nil {
		i.failed[n] = "[" + f.Name + "] - " + explain(err)
		return nil
	}
	item.Org = i.org
	i.items, i.places, i.octets = append(i.items, item), append(i.places, n), i.octets+len(data)
	if len(i.items) == importBatch || i.octets >= importOctets {
		return i.flush()
	}
	return nil
}

// flush imports what was read. If store or journal cannot serve, the rest is not tried: what was recorded until then is there, and
// sending the zip again finishes it.
func (i *zipImport) flush() error {
	results, err := i.c.s.Registrar.Import(i.c.ctx, i.c.caller, ra.DoorSCM, i.items)
	if err != nil {
		return err
	}
	for n, r := range results {
		switch {
		case r.Err == nil:
			i.report.ProcessedCount++
		case problem.Is(r.Err, problem.Unavailable), problem.Is(r.Err, problem.Internal):
			return i.brokeOff(r.Err)
		default:
			i.failed[i.places[n]] = "[" + i.zip.Files()[i.places[n]].Name + "] - " + explain(r.Err)
		}
	}
	i.items, i.places, i.octets = i.items[:0], i.places[:0], 0
	return nil
}

// brokeOff is why an import ends before its end.
func (i *zipImport) brokeOff(err error) error {
	return problem.Wrap(err, problem.Unavailable, "the import broke off, with %d certificates imported; send the same zip again later, which does them no harm",
		i.report.ProcessedCount).After(importPause)
}

// certificateFile is the certificate of one file, with those of issuers that may stand beside it, in any order.
func certificateFile(name string, data []byte) (item ra.ImportItem, err error) {
	if !slices.Contains([]string{".cer", ".crt", ".pem", ".der"}, strings.ToLower(path.Ext(name))) {
		return item, problem.New(problem.Malformed, "it is no file with a certificate by its name; name it .cer, .crt, .pem or .der")
	}
	ders, err := bundle.Read(data)
	if err != nil {
		return item, err
	}
	leaf := 0
	if len(ders) > 1 {
		leaf = -1
		for n, der := range ders {
			if cert, err := x509.ParseCertificate(der); err == nil && cert.IsCA && len(cert.DNSNames)+len(cert.IPAddresses) == 0 {
				continue
			}
			if leaf >= 0 {
				return item, problem.New(problem.Malformed, "it has several certificates that are no authorities'; put each into a file of its own, with its issuers")
			}
			leaf = n
		}
		if leaf < 0 {
			return item, problem.New(problem.Malformed, "it has certificates of authorities alone; import those of servers")
		}
	}
	item.Certificate = ders[leaf]
	item.Issuers = slices.Delete(ders, leaf, leaf+1)
	return item, nil
}
