package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A server reads 16 KiB of a connection at a time and answers what it has read of all connections after one sync of
	// its log, so a longer pipeline would wait for several. It also bounds how long a request waits for those it travels
	// with, which get their answers together.
	maxGroup      = 64
	maxGroupBytes = 16 << 10
	maxGroupKeys  = 32  // of one request: one that names more goes alone
	argOverhead   = 8   // about what the protocol adds to a key or argument, in octets
	callOverhead  = 200 // about what the command, the script's name and the guard's arguments take

	// maxSenders pipelines of a group are under way at once, so that a slow one does not hold up all.
	maxSenders = 4
	// senderStall is how long no pipeline may begin or end before one more is sent: the connections of the others may be
	// dead, which is noticed only after Config.Timeout.
	senderStall = 100 * time.Millisecond
)

// group sends the requests to one server that wait at the same moment in one pipeline, because a round trip costs the
// server and this process more than a script does. Nothing waits for company: a request goes out at once while fewer than
// maxSenders pipelines are under way, and otherwise with all that have gathered when one of them returns.
//
// There is no goroutine of its own: the request that finds a sender free sends, and on its return has the first of those
// that wait go on.
type group struct {
	mu      sync.Mutex // guards the rest
	senders int
	moved   time.Time // when a pipeline last began or ended
	waiting []*grouped
}

// grouped is a request on its way. After turn is closed, either it sends (leads is true), or value and err are its reply.
type grouped struct {
	ctx   context.Context // of its caller; bounds the request only if it travels alone
	sha   string
	keys  []string
	args  []any
	size  int
	turn  chan struct{} // nil if it never waited
	leads bool
	value any
	err   error
}

// fits says that a request may travel with others, and about how many octets it sends. Scans may not, as their answers are
// long, nor what asks for replicas: WAIT is about its own connection's writes.
func (r *request) fits() (size int, ok bool) {
	if r.script == scriptScan || len(r.keys) > maxGroupKeys {
		return 0, false
	}
	size = callOverhead + argOverhead*(len(r.keys)+len(r.args))
	for _, key := range r.keys {
		size += len(key)
	}
	for _, arg := range r.args {
		switch arg := arg.(type) {
		case string:
			size += len(arg)
		case []byte:
			size += len(arg)
		}
	}
	return size, size <= maxGroupBytes
}

// do returns the server's reply to c. It does not mind the end of c's context once c is sent: the caller's await does.
func (g *group) do(node *redis.Client, c *grouped) (any, error) {
	if !g.enter(c) {
		<-c.turn
		if !c.leads {
			return c.value, c.err
		}
	}
	began, batch := g.take(c)
	send(node, batch)
	for _, other := range batch {
		if other != c {
			close(other.turn)
		}
	}
	g.pass(began)
	return c.value, c.err
}

// enter returns whether c is to send at once; if not, it waits for its turn.
func (g *group) enter(c *grouped) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.senders < maxSenders || time.Since(g.moved) > senderStall {
		g.senders++
		g.moved = time.Now()
		return true
	}
	c.turn = make(chan struct{})
	g.waiting = append(g.waiting, c)
	return false
}

// take returns what c is to send: itself, and in their order those that wait. Whoever's caller has gone is left out, so that
// nothing is sent long after its caller was told that the outcome is unknown.
func (g *group) take(c *grouped) (began time.Time, batch []*grouped) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = time.Now()
	size := 0
	if c.live() {
		batch, size = append(batch, c), c.size
	}
	for len(g.waiting) > 0 && len(batch) < maxGroup {
		next := g.waiting[0]
		if !next.live() {
			close(next.turn)
		} else if size += next.size; size > maxGroupBytes {
			break
		} else {
			batch = append(batch, next)
		}
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
	}
	return g.moved, batch
}

// live is false if c's caller has gone; then the reply is that nothing was sent.
func (c *grouped) live() bool {
	if err := c.ctx.Err(); err != nil {
		c.err = unavailable(err)
		return false
	}
	return true
}

// pass has the next request send. One sender too many ends, if it was itself the slow one.
func (g *group) pass(began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = time.Now()
	if len(g.waiting) == 0 || g.senders > maxSenders && g.moved.Sub(began) > senderStall {
		g.senders--
		return
	}
	next := g.waiting[0]
	g.waiting[0] = nil
	g.waiting = g.waiting[1:]
	next.leads = true
	close(next.turn)
}

// send makes one round trip. What is alone has its caller's deadline. Several have that of none, lest an impatient caller
// take the others' answers away: the timeouts of the configuration bound them.
func send(node *redis.Client, batch []*grouped) {
	switch len(batch) {
	case 0:
		return
	case 1:
		c := batch[0]
		c.value, c.err = node.EvalSha(c.ctx, c.sha, c.keys, c.args...).Result()
		return
	}
	ctx := context.Background()
	pipe := node.Pipeline()
	runs := make([]*redis.Cmd, len(batch))
	for i, c := range batch {
		runs[i] = pipe.EvalSha(ctx, c.sha, c.keys, c.args...)
	}
	_, err := pipe.Exec(ctx)
	for i, c := range batch {
		c.value, c.err = runs[i].Result()
		if c.err == nil && c.value == nil {
			c.err = err // the connection could not be prepared: the library leaves the requests without an error
		}
	}
}
