package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// benchLoadCmd fills a store with enrollments, so that lists can be measured in a large one without issuing for hours.
type benchLoadCmd struct {
	benchStoreFlags
	Add         bool `help:"Add to the enrollments of an earlier load."`
	Measure     bool `help:"Then measure lists, as bench list does."`
	Pages       int  `help:"With --measure: pages for each figure." default:"200" placeholder:"N"`
	JSON        bool `help:"Print JSON."`
	Enrollments int  `arg:"" help:"How many enrollments to add, 1 to 10,000,000."`
}

const maxStock = 10_000_000

// stockBatch enrollments are one commit, which keeps Redis busy for 50 ms. More cost the embedded store more, whose pages
// are divided only at the end of a commit: 4,000 make it a tenth slower, and the file a tenth larger.
const stockBatch = 500

func (c *benchLoadCmd) check() error {
	if c.Enrollments < 1 || c.Enrollments > maxStock {
		return fmt.Errorf("%d enrollments cannot be loaded; give 1 to %d", c.Enrollments, maxStock)
	}
	return checkPages(c.Pages)
}

func (c *benchLoadCmd) Run(ctx context.Context, s streams) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	before, err := store.check(ctx)
	if err != nil {
		return err
	}
	if before > 0 && !c.Add {
		return fmt.Errorf("the store holds %d enrollments of an earlier load; add more with --add, or name an empty store", before)
	}
	progress := newBenchProgress(s.err)
	report, err := fillStore(ctx, store, c.Enrollments, progress)
	if ctx.Err() != nil {
		err = errors.New("interrupted; what is shown is in the store")
	}
	if err == nil && c.Measure {
		report.Lists, err = measureLists(ctx, store, c.Pages, progress)
	}
	switch {
	case report.Added == 0:
		return err
	case c.JSON:
		return errors.Join(writeJSON(s.out, report), err)
	default:
		return errors.Join(report.write(s.out), err)
	}
}

// benchLoadReport is what a load put into a store. Sizes are in bytes: of the file on its disk, or of Redis's memory.
type benchLoadReport struct {
	Store           string           `json:"store"` // "embedded" or "redis"
	Added           int64            `json:"added"`
	Total           int64            `json:"total"` // enrollments in the store, with those of earlier loads
	Seconds         float64          `json:"seconds"`
	PerSecond       float64          `json:"perSecond"`
	CertificateSize int64            `json:"certificateSize"` // DER, on average
	SizeBefore      int64            `json:"sizeBefore"`
	SizeAfter       int64            `json:"sizeAfter"`
	PerCertificate  int64            `json:"perCertificate"`
	Lists           *benchListReport `json:"lists,omitempty"`
}

// fillStore adds n enrollments. The report holds what was added, whatever the error.
func fillStore(ctx context.Context, store *benchStore, n int, progress *benchProgress) (*benchLoadReport, error) {
	report := &benchLoadReport{Store: store.kind}
	begun := time.Now()
	stock, err := newBenchStock(begun)
	if err != nil {
		return report, err
	}
	if report.SizeBefore, err = store.size(ctx); err != nil {
		return report, err
	}
	f := &benchFill{store: store, stock: stock, n: int64(n)}
	stop := progress.track("loading", n, &f.done)
	err = f.run(ctx)
	stop()
	// The figures are about what was loaded, also where an end of ctx cut it short.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	report.Added, report.Seconds = f.done.Load(), time.Since(begun).Seconds()
	if report.Added == 0 {
		return report, err
	}
	report.PerSecond = float64(report.Added) / report.Seconds
	report.CertificateSize = f.octets.Load() / report.Added
	size, sizeErr := store.size(after)
	total, totalErr := store.total(after)
	report.SizeAfter, report.PerCertificate, report.Total = size, (size-report.SizeBefore)/report.Added, total
	return report, errors.Join(err, sizeErr, totalErr)
}

// benchFill is a load under way.
type benchFill struct {
	store  *benchStore
	stock  *benchStock
	n      int64
	taken  atomic.Int64
	done   atomic.Int64
	octets atomic.Int64 // of all certificates
}

// run has as many workers as there are processors, and one more, because each waits for the disk now and then. It returns
// the first error, which ends them all.
func (f *benchFill) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) + 1 {
		wg.Go(func() {
			if err := f.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (f *benchFill) work(ctx context.Context) error {
	for ctx.Err() == nil {
		begin := f.taken.Add(f.store.batch) - f.store.batch
		if begin >= f.n {
			return nil
		}
		n := min(f.store.batch, f.n-begin)
		first, err := f.store.db.ReserveEnrollments(ctx, int(n))
		if err != nil {
			return err
		}
		batch := make([]storage.Loaded, n)
		var octets int64
		for i := range batch {
			if batch[i], err = f.stock.loaded(first + ra.ID(i)); err != nil {
				return err
			}
			octets += int64(len(batch[i].Certificate.DER))
		}
		if err := f.store.db.Load(ctx, batch); err != nil {
			return err
		}
		f.octets.Add(octets)
		f.done.Add(n)
	}
	return nil
}

// redisPerCertificate is the budget of Redis's memory for a certificate with two names, beyond its DER.
const redisPerCertificate = 2.6 * 1024

func (r *benchLoadReport) write(out io.Writer) error {
	kind := "bytes of disk"
	if r.Store == "redis" {
		kind = "bytes of memory"
	}
	_, err := fmt.Fprintf(out, "%d enrollments added in %.0f s, %.0f per s; the store holds %d\n%d %s for each with its certificate of %d bytes (DER) (in all %s before, %s after)\n",
		r.Added, r.Seconds, r.PerSecond, r.Total, r.PerCertificate, kind, r.CertificateSize, mebibytes(r.SizeBefore), mebibytes(r.SizeAfter))
	if err != nil {
		return err
	}
	if r.Store == "redis" {
		beyond := r.PerCertificate - r.CertificateSize
		if _, err := fmt.Fprintf(out, "%d of them beyond the DER; the budget is %.0f: %s\n", beyond, redisPerCertificate, verdict(float64(beyond) <= redisPerCertificate)); err != nil {
			return err
		}
	}
	if r.Lists == nil {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return r.Lists.write(out)
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "missed"
}
