package dcv

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// worldVariable makes the test binary a DNS and a web server in a process of their own, so that the benchmark's CPU time
// is the validator's alone.
const worldVariable = "GATEHOUSE_TEST_DCV_WORLD"

func serveWorld() {
	resolver, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{loopback4}})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := testca.NewHTTP(testca.HTTPConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web.Set(testToken, testKeyAuth)
	fmt.Println(resolver.Addr(), web.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
}

// BenchmarkHTTP01 validates over the loopback. cpu-µs/op is user and system time of this process.
func BenchmarkHTTP01(b *testing.B) {
	benchmark(b, func(b *testing.B, resolver string, web netip.AddrPort) func() error {
		v, err := New(Config{
			Resolver: ResolverConfig{Servers: []string{resolver}}, HTTPPort: web.Port(), AllowLoopback: true,
			OwnAddresses: func() []netip.AddrPort { return nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = v.Close() })
		req := requestFor(b, testName)
		return func() error {
			_, _, err := v.Check(b.Context(), req)
			return err
		}
	})
}

// BenchmarkFloor exchanges the same messages with package net and looks at none of them: what BenchmarkHTTP01 cannot go
// below.
func BenchmarkFloor(b *testing.B) {
	benchmark(b, func(b *testing.B, resolver string, web netip.AddrPort) func() error {
		var sockets sync.Pool
		question, err := question{name: wireName, qtype: dns.TypeA}.pack(wireID)
		if err != nil {
			b.Fatal(err)
		}
		request := (&fetcher{userAgent: "Gatehouse"}).request(ports{http: web.Port()}.firstTarget(mustDNS(b, testName), testToken))
		return func() error {
			buf := make([]byte, 4096)
			c, _ := sockets.Get().(net.Conn)
			if c == nil {
				var err error
				if c, err = net.Dial("udp", resolver); err != nil {
					return err
				}
			}
			defer sockets.Put(c)
			for range 2 {
				if _, err := c.Write(question); err != nil {
					return err
				}
			}
			for range 2 {
				if _, err := c.Read(buf); err != nil {
					return err
				}
			}
			t, err := (&net.Dialer{KeepAlive: -1}).DialTCP(b.Context(), "tcp", netip.AddrPort{}, web)
			if err != nil {
				return err
			}
			defer func() { _ = t.Close() }()
			if _, err := t.Write([]byte(request)); err != nil {
				return err
			}
			_, err = t.Read(buf)
			return err
		}
	})
}

func benchmark(b *testing.B, prepare func(b *testing.B, resolver string, web netip.AddrPort) func() error) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), worldVariable+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = child.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	resolver, web, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		b.Fatalf("the world did not start: %q", line)
	}
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			once := prepare(b, resolver, netip.MustParseAddrPort(web))
			var perClient sync.WaitGroup
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			for c := range clients {
				perClient.Go(func() {
					for i := c; i < b.N; i += clients {
						if err := once(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			perClient.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
