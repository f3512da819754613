package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	// importAtOnce is how many certificates are sent in one request, and importOctets how much of them.
	importAtOnce = 500
	importOctets = 1 << 20
)

type certImportCmd struct {
	adminFlags
	Dir                []string `help:"A folder with certificates, and the folders in it. Files that hold none are passed over." type:"path" placeholder:"DIR"`
	Org                string   `help:"Slug of the organisation that is to have them. Default: the organisation of /acme/directory." placeholder:"SLUG"`
	Profile            string   `help:"The profile under which they are listed." placeholder:"NAME"`
	Comments           string   `help:"Comments on each of them." placeholder:"TEXT"`
	ExternalRequesters []string `name:"external-requester" help:"Mail address of somebody whom they concern." placeholder:"ADDRESS"`
	Fields             []string `name:"field" help:"A custom field of the profile, as NAME=VALUE." sep:"none" placeholder:"NAME=VALUE"`
	Files              []string `arg:"" optional:"" name:"file" help:"Certificates in PEM or DER, or PKCS #7. Those of authorities are kept with the ones that they lead to." type:"path"`
}

// certImportAll is what the command says of all files, as JSON.
type certImportAll struct {
	Imported int                `json:"imported"`
	There    int                `json:"there"` // already
	Failed   int                `json:"failed"`
	Results  []certImportResult `json:"results"`
}

func (c *certImportCmd) Run(ctx context.Context, s streams) error {
	if len(c.Files)+len(c.Dir) == 0 {
		return errors.New("name files with certificates, or a folder with --dir")
	}
	fields, err := parseFields(c.Fields)
	if err != nil {
		return err
	}
	g, err := gatherCertificates(c.Files, c.Dir)
	if err != nil {
		return err
	}
	all := certImportAll{Results: []certImportResult{}}
	out := s.out
	if c.JSON {
		out = io.Discard
	}
	all.add(out, g.failed)
	var done atomic.Int64
	stop := func() {}
	f, ok := s.out.(*os.File)
	if followed := ok && isTerminal(f) && !c.JSON; !followed && len(g.items) > importAtOnce {
		stop = newBenchProgress(s.err).track("certificates", len(g.items), &done)
	}
	ask := certImport{Org: c.Org, Profile: c.Profile, Comments: c.Comments, ExternalRequesters: c.ExternalRequesters}
	for _, f := range fields {
		ask.Fields = append(ask.Fields, fieldValue{Name: f.Name, Value: f.Value})
	}
	for begin := 0; begin < len(g.items); {
		n, results, err := c.some(ctx, ask, g, g.items[begin:])
		if err != nil {
			stop()
			return fmt.Errorf("%w (%d of %d certificates are done: say it again, which does them no harm)", err, begin, len(g.items))
		}
		all.add(out, results)
		begin += n
		done.Store(int64(begin))
	}
	stop()
	return c.conclude(s, all)
}

// some imports as many of the items as are sent at once.
func (c *certImportCmd) some(ctx context.Context, ask certImport, g *certFiles, items []certFile) (n int, results []certImportResult, err error) {
	places := map[int]int{} // of authorities, in what is sent
	for octets := 0; n < len(items) && n < importAtOnce && (n == 0 || octets < importOctets); n++ {
		item := certImportedItem{Certificate: items[n].der}
		octets += len(items[n].der)
		for _, at := range g.issuers(items[n].cert) {
			if _, sent := places[at]; !sent {
				places[at] = len(ask.Issuers)
				ask.Issuers = append(ask.Issuers, g.authorities[at].Raw)
				octets += len(g.authorities[at].Raw)
			}
			item.Issuers = append(item.Issuers, places[at])
		}
		ask.Certificates = append(ask.Certificates, item)
	}
	var answer certImportResults
	if err := c.call(ctx, "POST", "/imports", ask, &answer); err != nil {
		return 0, nil, err
	}
	if len(answer.Results) != n {
		return 0, nil, fmt.Errorf("the gateway tells of %d certificates, and %d were sent", len(answer.Results), n)
	}
	for i := range answer.Results {
		answer.Results[i].File = items[i].file
	}
	return n, answer.Results, nil
}

// add counts results and prints a line for each.
func (a *certImportAll) add(out io.Writer, results []certImportResult) {
	a.Results = append(a.Results, results...)
	for _, r := range results {
		names := shortened(r.Names)
		if names == "" {
			names = "no host names"
		}
		if r.Ignored > 0 {
			names += fmt.Sprintf(", and %d that cannot be listed", r.Ignored)
		}
		switch {
		case r.Error != "":
			a.Failed++
			fmt.Fprintf(out, "%s: failed: %s\n", r.File, r.Error)
		case r.Created:
			a.Imported++
			fmt.Fprintf(out, "%s: enrollment %d, %s (%s)\n", r.File, r.ID, r.Status, names)
		default:
			a.There++
			fmt.Fprintf(out, "%s: enrollment %d, there already (%s)\n", r.File, r.ID, names)
		}
	}
}

func (c *certImportCmd) conclude(s streams, all certImportAll) error {
	var err error
	if c.JSON {
		err = writeJSON(s.out, all)
	} else {
		_, err = fmt.Fprintf(s.out, "%d imported, %d there already, %d failed\n", all.Imported, all.There, all.Failed)
	}
	if err == nil && all.Failed > 0 {
		return errReported
	}
	return err
}
