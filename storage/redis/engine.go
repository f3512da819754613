// Package redis is the storage engine that any number of gateways share: one Redis server, a primary with replicas behind
// Sentinel, or one hash slot of a Redis Cluster.
//
// It decides how records, indexes and sequences lie in Redis, which server may be trusted with them, what an error reply
// means, and what may be asked twice. It trusts a server that passed its checks to be durable as configured, and its
// callers for the meaning of keys and values. It never takes silence or an error for absence, never repeats what may have
// been executed, never acknowledges a commit that too few replicas have, and never uses a store that lost something it
// acknowledged.
//
// # One script per call
//
// Every call is one Lua script. Those that wait at the same moment share a round trip, except scans, large ones, and what
// replicas must confirm; each keeps its own reply and error. Each script begins with a guard: the server must be a primary,
// its replication history must be the one this engine checked, and the store must carry the epoch this engine knows. If
// not, the script changes nothing and says so; the engine checks settings and epoch of the server it found and asks again.
// A restart, a failover, a FLUSHALL or a restored backup is noticed by the first call that meets it, not a moment later by
// a timer. All keys share one hash tag, so a commit is atomic over all it names, on Cluster too.
//
// # What may be repeated
//
// The client library repeats nothing. The engine repeats, a few times within the caller's deadline, what was surely not
// executed: a refused dial, MOVED, ASK, TRYAGAIN, NOSCRIPT, and a script whose guard refused. Every other error reply is
// ErrUnavailable. A commit whose reply was lost is ErrUnknown; any other call whose reply was lost is ErrUnavailable,
// because its caller loses nothing if it happened.
//
// # Replicas
//
// With Config.MinReplicas, commit and WAIT (WAITAOF from Redis 7.2 on) travel in one pipeline to one connection, and the
// count is compared. A short count is ErrUnknown with ErrNotReplicated: the commit is on the primary and may be lost with
// it, and ErrUnavailable would promise that nothing was changed. ErrUnknown is settled by reading, and a plain read would
// find the commit and turn it into an acknowledgement. So the engine keeps a doubt, in the store, where every gateway
// sees it: while it stands, each read is followed by a barrier, a small write and a WAIT, and is ErrUnavailable unless the
// replicas have everything the read saw. The caller answers 503, and the retry finds the commit once it is safe.
//
// # Tokens
//
// Marks are ordinary keys with an expiry, which are neither logged nor replicated. They are valid within one replication
// history: when a server begins a new one (each start and each promotion does), tokens made before, and up to
// Config.ClockSkew after, are refused. So a token is not accepted twice whatever becomes of its mark, and spending waits
// for no disk. Counters of limits are replicated and not logged: a failover keeps nearly all, a restart some.
//
// # Going back
//
// Each commit raises a counter in the store. When the history changes, the store notes the count at which it forked; an
// engine that was acknowledged beyond the fork, or finds a lower count or another epoch than it knows, refuses to work
// with WentBackError until Adopt, or until the server with its commits is back. So does one whose server is followed by
// another that never had its history, as after two failovers in a row: whether that one acknowledged anything, to whomever,
// only the journals know.
//
// # Limits
//
// While a Cluster moves the deployment's slot from one node to another, calls are ErrUnavailable: no node serves a request
// whose keys are in both. A primary that is cut off from the majority serves reads to gateways on its side until it learns
// of its successor; with MinReplicas it acknowledges no commit.
//
// # The server's user
//
// The smallest ACL user, for a deployment named gatehouse, is (with +waitaof from Redis 7.2 on, and +cluster|slots only in
// a Cluster):
//
//	user gatehouse on >secret ~{gatehouse}:* &{gatehouse}:* -@all +evalsha +script|load +info +config|get +time
//	  +exists +get +mget +getrange +set +del +type +incr +incrby +zadd +zrem +zcard +zlexcount +zrange
//	  +lpush +ltrim +lrange +wait +publish +subscribe +unsubscribe +ping +cluster|slots
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Engine is a connection to a store. All methods are safe for concurrent use.
type Engine struct {
	cfg     Config
	keys    keyring
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil unless Config.Cluster
	log     *slog.Logger

	admit  sync.RWMutex // read-held while a call enters; guards closed
	closed bool
	calls  sync.WaitGroup
	tasks  sync.WaitGroup
	quit   context.Context // ends with Close
	stop   context.CancelFunc
	kick   chan struct{} // asks the loop to check the server now

	checking chan struct{} // held by whoever checks a server
	checked  atomic.Pointer[server]
	refusal  atomic.Pointer[refusal]

	mu       sync.Mutex // guards position and wentBack
	position Position
	wentBack error

	doubt doubt
	hub   *hub
}

var _ storage.Engine = (*Engine)(nil)

// Open connects, checks the server's settings, and writes the epoch if the store has none. The error says what to set if
// a setting is refused (ErrUnsafe), and is a WentBackError if the store is not the one Config.Known describes.
func Open(ctx context.Context, c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: c, keys: keyring{tag: hashTag(c.Name)}, log: c.Log, position: c.Known,
		kick: make(chan struct{}, 1), checking: make(chan struct{}, 1),
		doubt: doubt{turn: make(chan struct{}, 1)},
	}
	e.quit, e.stop = context.WithCancel(context.Background())
	e.hub = newHub(e)
	e.connect()
	if _, err := e.ready(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.tasks.Go(e.watchServer)
	return e, nil
}

// kickPause is the step of pause by which a check waits for more connections, 160 ms.
const kickPause = 3

// watchServer checks the server again, each Config.CheckEvery and after each new connection, because settings can change
// while a server runs; and asks whether replicas have caught up, so that a doubt ends without a reader.
func (e *Engine) watchServer() {
	tick := time.NewTicker(e.cfg.CheckEvery)
	defer tick.Stop()
	var told string // the trouble that was logged last
	for {
		select {
		case <-e.quit.Done():
			return
		case <-tick.C:
		case <-e.kick:
			if !e.pause(e.quit, kickPause) { // connections come in swarms
				return
			}
		}
		err := e.turn()
		switch {
		case e.quit.Err() != nil:
			return
		case err != nil && err.Error() != told:
			told = err.Error()
			e.log.Warn("redis: the store cannot be used", "error", err)
		case err == nil && told != "":
			told = ""
			e.log.Info("redis: the store can be used again")
		}
	}
}

func (e *Engine) turn() error {
	ctx, cancel := context.WithTimeout(e.quit, 2*e.cfg.Timeout)
	defer cancel()
	if _, err := e.check(ctx, e.checked.Load()); err != nil || !e.doubt.stands() {
		return err
	}
	return e.barrier(ctx)
}

// Health makes one round trip with a script that writes nothing but is refused whenever a write would be: a full memory, a
// disk that fails, replicas that are missing, a server that is loading.
func (e *Engine) Health(ctx context.Context) storage.Health {
	h := storage.Health{Engine: "redis", Durability: "unknown: no server was checked"}
	_, h.Err = e.call(ctx, request{script: scriptProbe, keys: []string{e.keys.epoch()}})
	if s := e.checked.Load(); s != nil {
		h.Durability = s.durability(&e.cfg)
		if h.Err == nil && s.replicas < e.cfg.MinReplicas {
			h.Err = unavailable(fmt.Errorf("%w: %d of %d replicas are connected to %s", ErrNotReplicated, s.replicas, e.cfg.MinReplicas, s.addr))
		}
	}
	if h.Err == nil && e.doubt.stands() {
		h.Err = unavailable(ErrNotReplicated)
	}
	return h
}

// Now asks the server: leases are compared by its clock alone, and a process that was stopped must not trust an offset
// from before.
func (e *Engine) Now(ctx context.Context) (time.Time, error) {
	return await(ctx, e, unavailable, func(ctx context.Context) (time.Time, error) {
		for n := 0; ; n++ {
			node, err := e.node(ctx)
			if err != nil {
				return time.Time{}, unavailable(err)
			}
			now, err := node.Time(ctx).Result()
			if err == nil {
				return now, nil
			}
			if !isDial(err) || !e.pause(ctx, n) {
				return time.Time{}, unavailable(err)
			}
		}
	})
}

// Close refuses new calls, lets those under way finish, and ends watches and connections. A second Close does nothing.
func (e *Engine) Close() error {
	e.admit.Lock()
	if e.closed {
		e.admit.Unlock()
		return nil
	}
	e.closed = true
	e.admit.Unlock()

	e.calls.Wait() // each is bounded by the timeouts of the configuration
	e.stop()
	e.hub.close()
	e.tasks.Wait()
	return e.client.Close()
}

// enter lets a call in; the caller must call e.calls.Done if it returns nil.
func (e *Engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	e.admit.RLock()
	defer e.admit.RUnlock()
	if e.closed {
		return unavailable(errClosed)
	}
	e.calls.Add(1)
	return nil
}

// await runs fn and returns its result, or lost(ctx.Err()) as soon as ctx ends: the library minds a context's deadline but
// not its cancellation. fn then goes on alone, for no longer than the timeouts of the configuration.
func await[T any](ctx context.Context, e *Engine, lost func(error) error, fn func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := e.enter(ctx); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		defer e.calls.Done()
		return fn(ctx)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer e.calls.Done()
		value, err := fn(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return zero, lost(ctx.Err())
	}
}
