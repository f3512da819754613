package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

const (
	// chaosRounds is how many rounds all worlds have together, unless GATEHOUSE_CHAOS_ROUNDS says otherwise.
	chaosRounds = 10
	// chaosClients keep each fleet busy.
	chaosClients = 4
	// recoverWithin bounds the time from the end of a fault until everything works again.
	recoverWithin = 90 * time.Second
	// finishWithin bounds the time until every client that came has finished: an enrollment whose gateway died waits a
	// minute for another one.
	finishWithin = 4 * time.Minute
	// judgeEvery is after how many rounds of a world everything is stopped and judged; always after the last.
	judgeEvery = 8
)

// TestChaos runs two gateways on a Redis of each kind under load, and lets something happen to them, over and over.
// Nothing that was acknowledged may be lost, and what was begun is finished.
//
// GATEHOUSE_CHAOS_SEED repeats a choice of faults; what they hit is a matter of time. GATEHOUSE_CHAOS_WORLD runs one world
// alone, GATEHOUSE_CHAOS_FAULT only what has this text in its name. GATEHOUSE_CHAOS_LOGS names a folder for the gateways'
// logs.
func TestChaos(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	seed, rounds := chaosNumber(t, "GATEHOUSE_CHAOS_SEED", rand.Uint64()), chaosNumber(t, "GATEHOUSE_CHAOS_ROUNDS", chaosRounds)
	t.Logf("GATEHOUSE_CHAOS_SEED=%d GATEHOUSE_CHAOS_ROUNDS=%d", seed, rounds)
	kinds := []struct {
		name  string
		store func(testing.TB) *chaosStore
	}{{"single", singleStore}, {"sentinel", sentinelStore}, {"cluster", clusterStore}}
	// Side by side, but as one test among the parallel ones: they wait most of the time.
	var worlds sync.WaitGroup
	for n, kind := range kinds {
		share := (int(rounds) + len(kinds) - 1 - n) / len(kinds)
		if only := os.Getenv("GATEHOUSE_CHAOS_WORLD"); only != "" {
			share = int(rounds)
			if only != kind.name {
				continue
			}
		}
		worlds.Go(func() {
			t.Run(kind.name, func(t *testing.T) {
				newChaos(t, rand.New(rand.NewPCG(seed, uint64(n))), kind.store(t)).run(share)
			})
		})
	}
	worlds.Wait()
}

func chaosNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// chaos is a fleet that things happen to.
type chaos struct {
	t        *testing.T
	random   *rand.Rand // decides what happens; of the test's goroutine alone
	store    *chaosStore
	fleet    *fleet
	gateways []*member
	load     *chaosLoad
	lists    *listWatch
	used     [][]byte // requests whose nonces were accepted
	deck     []fault  // what comes next
	long     bool     // there is time for the faults that last
	single   bool     // nothing else happens beside the fault that runs
	began    time.Time
}

func newChaos(t *testing.T, random *rand.Rand, store *chaosStore) *chaos {
	t.Helper()
	c := &chaos{t: t, random: random, store: store, fleet: newFleet(t, 2), began: time.Now()}
	for k, w := range c.fleet.worlds {
		w.args = append(w.args, store.flags(k)...)
		c.gateways = append(c.gateways, &member{world: w})
	}
	c.up()
	door := c.gateways[0].now
	kept, anew := patient(door, ""), patient(door, "")
	anew.Transport.(*http.Transport).DisableKeepAlives = true // each request goes to the gateway whose turn it is
	c.load = &chaosLoad{
		t: t, door: door, worlds: c.fleet.worlds, answers: c.fleet.worlds[0].answers(), http: []*http.Client{kept, anew},
	}
	c.lists = newListWatch(c)
	return c
}

// up starts all gateways.
func (c *chaos) up() {
	var wg sync.WaitGroup
	for _, m := range c.gateways {
		wg.Go(m.bringUp)
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *chaos) run(rounds int) {
	c.long = rounds > chaosRounds
	c.load.begin(chaosClients)
	defer c.load.finish(0) // should the test end early; otherwise they are done by then
	for n := 1; n <= rounds; n++ {
		c.round(fmt.Sprintf("%d of %d", n, rounds))
		if c.t.Failed() {
			return
		}
		if n%judgeEvery == 0 && n < rounds {
			c.judge()
			c.up()
			c.load.begin(chaosClients)
		}
	}
	c.judge()
}

// round lets one thing happen, or two, and looks whether everything is well again.
func (c *chaos) round(number string) {
	c.t.Helper()
	first := c.deal()
	name := first.name
	var beside *fault
	if c.random.IntN(4) == 0 && !first.long && !first.alone && !c.isGatewayFault(first) {
		beside = &gatewayFaults[c.random.IntN(len(gatewayFaults)-1)] // the last one takes too long
		name += ", and " + beside.name
	}
	c.log("round %s: %s", number, name)
	began := time.Now()
	if first.empties {
		c.load.empties()
	}
	c.single = beside == nil
	var wg sync.WaitGroup
	if beside != nil {
		r := c.branch()
		wg.Go(func() { beside.run(c, r) })
	}
	r := c.branch()
	func() {
		defer wg.Wait()
		first.run(c, r)
	}()
	c.store.whole()
	ended := time.Now()
	c.recover()
	c.load.refilled()
	clients, failures, reordered := c.load.counts()
	c.log("round %s: it lasted %.1fs, all was well again after %.1fs; %d clients so far, %d failed attempts, %d new orders for lost ones, %s",
		number, ended.Sub(began).Seconds(), time.Since(ended).Seconds(), clients, failures, reordered, c.lists)
}

// branch is a source of its own for whoever runs beside the test.
func (c *chaos) branch() *rand.Rand { return rand.New(rand.NewPCG(c.random.Uint64(), 0)) }

// deal takes the next fault from a shuffled deck, so that all come before one comes again.
func (c *chaos) deal() fault {
	if len(c.deck) == 0 {
		for _, f := range append(c.store.faults[:len(c.store.faults):len(c.store.faults)], gatewayFaults...) {
			if strings.Contains(f.name, os.Getenv("GATEHOUSE_CHAOS_FAULT")) && (c.long || !f.long) {
				c.deck = append(c.deck, f)
			}
		}
		if len(c.deck) == 0 {
			c.t.Fatal("GATEHOUSE_CHAOS_FAULT names no fault of this world")
		}
		c.random.Shuffle(len(c.deck), func(a, b int) { c.deck[a], c.deck[b] = c.deck[b], c.deck[a] })
	}
	next := c.deck[0]
	c.deck = c.deck[1:]
	return next
}

func (c *chaos) isGatewayFault(f fault) bool {
	for _, g := range gatewayFaults {
		if g.name == f.name {
			return true
		}
	}
	return false
}

func (c *chaos) anyGateway(r *rand.Rand) *member { return c.gateways[r.IntN(len(c.gateways))] }

func (c *chaos) anyProxy(r *rand.Rand) *redistest.Proxy {
	return c.store.proxies[r.IntN(len(c.store.proxies))]
}

func (c *chaos) log(format string, args ...any) {
	c.t.Helper()
	c.t.Logf("%s %6.1fs %s", filepath.Base(c.t.Name()), time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}
