package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// benchProgress shows how far a run is: a bar on a terminal, now and then a line elsewhere.
type benchProgress struct {
	out      io.Writer
	terminal bool
	every    time.Duration
}

func newBenchProgress(out io.Writer) *benchProgress {
	p := &benchProgress{out: out, every: 10 * time.Second}
	if f, ok := out.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			p.terminal, p.every = true, 200*time.Millisecond
		}
	}
	return p
}

// track shows done until the function it returns is called, which leaves one line about the whole. A total of zero is
// not known.
func (p *benchProgress) track(label string, total int, done *atomic.Int64) (stop func()) {
	begun, end := time.Now(), make(chan struct{})
	show := func() { p.show(label, int(done.Load()), total, time.Since(begun), false) }
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				show()
			case <-end:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		wg.Wait()
		p.show(label, int(done.Load()), total, time.Since(begun), true)
	})
}

func (p *benchProgress) show(label string, done, total int, took time.Duration, last bool) {
	line := progressLine(label, done, total, took, p.terminal && !last)
	switch {
	case !p.terminal:
		fmt.Fprintln(p.out, line)
	case last:
		fmt.Fprintf(p.out, "\r\x1b[K%s\n", line)
	default:
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
	}
}

// progressLine fits into 80 columns.
func progressLine(label string, done, total int, took time.Duration, bar bool) string {
	const width = 20
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s ", label)
	if bar && total > 0 {
		filled := min(done*width/total, width)
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", filled), strings.Repeat(".", width-filled))
	}
	if total > 0 {
		fmt.Fprintf(&b, "%d/%d", done, total)
	} else {
		fmt.Fprintf(&b, "%d", done)
	}
	if took > 0 {
		fmt.Fprintf(&b, "  %.0f/s", float64(done)/took.Seconds())
	}
	return b.String()
}
