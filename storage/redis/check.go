package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// server is a server that passed the checks, and the store it carries. It is not changed once it is published, but for the
// group.
type server struct {
	node     *redis.Client
	addr     string
	version  string
	epoch    string // of the store
	history  string // replication id, which each start and each promotion makes anew
	fsync    string // appendfsync
	replicas int    // connected when it was checked
	waitAOF  bool
	group    group // of requests to node
}

func (s *server) durability(c *Config) string {
	text := fmt.Sprintf("Redis %s at %s: the append-only file is synced before a commit is acknowledged", s.version, s.addr)
	if s.fsync != "always" {
		text = fmt.Sprintf("Redis %s at %s: the append-only file is synced each second; a crash loses what was acknowledged since", s.version, s.addr)
	}
	if c.MinReplicas == 0 {
		return text + "; a failover may lose the last commits (min_replicas is 0)"
	}
	confirmed := "replicas confirm"
	if s.waitAOF {
		confirmed = "replicas' disks confirm"
	}
	return fmt.Sprintf("%s; %d %s each commit", text, c.MinReplicas, confirmed)
}

// refusal is why the last server was refused, for a moment, so that a thousand waiting calls do not ask it as often.
type refusal struct {
	err   error
	until time.Time
}

const refusalLife = 500 * time.Millisecond

// ready returns the checked server, checking one first if there is none.
func (e *Engine) ready(ctx context.Context) (*server, error) {
	if s := e.checked.Load(); s != nil {
		return s, nil
	}
	return e.check(ctx, nil)
}

// check finds the server and decides whether it may be used. stale is what the caller no longer trusts: if somebody else
// has replaced it meanwhile, that is the answer.
func (e *Engine) check(ctx context.Context, stale *server) (*server, error) {
	select {
	case e.checking <- struct{}{}:
		defer func() { <-e.checking }()
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	if now := e.checked.Load(); now != nil && now != stale {
		return now, nil
	}
	if r := e.refusal.Load(); r != nil && stale == nil && time.Now().Before(r.until) {
		return nil, r.err
	}
	s, err := e.examine(ctx)
	if err != nil {
		err = classify(ctx, err, unavailable)
		// A server that cannot be reached stays trusted: the guard of each script looks again.
		if _, wentBack := errors.AsType[*WentBackError](err); wentBack || errors.Is(err, ErrUnsafe) {
			e.checked.Store(nil)
			e.refusal.Store(&refusal{err, time.Now().Add(refusalLife)})
		}
		return nil, err
	}
	e.refusal.Store(nil)
	e.checked.Store(s)
	return s, nil
}

// examine asks one server for its settings and enrolls with it. A Cluster may send it on to another.
func (e *Engine) examine(ctx context.Context) (*server, error) {
	node, err := e.node(ctx)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		s, err := e.inspect(ctx, node)
		if err == nil {
			err = e.load(ctx, node)
		}
		if err == nil {
			err = e.enroll(ctx, s)
		}
		if err == nil || !e.elsewhere(err) || !e.pause(ctx, n) {
			return s, err
		}
		if node = e.redirect(ctx, err); node == nil {
			if node, err = e.node(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// elsewhere says that another server, or this one a moment later, may pass.
func (e *Engine) elsewhere(err error) bool {
	switch code(err) {
	case "MOVED", "ASK", "TRYAGAIN":
		return true
	}
	return errors.Is(err, errChanged) || e.cluster != nil && (isDial(err) || errors.Is(err, errReplica))
}

var (
	errChanged = fmt.Errorf("%w: the server changed while it was checked", storage.ErrUnavailable)
	errReplica = fmt.Errorf("%w: the server is a replica", storage.ErrUnavailable)
)

// inspect reads role, version and settings in one round trip.
func (e *Engine) inspect(ctx context.Context, node *redis.Client) (*server, error) {
	pipe := node.Pipeline()
	info := pipe.Info(ctx)
	config := pipe.Do(ctx, "CONFIG", "GET", "appendfsync")
	rewrite := pipe.Do(ctx, "CONFIG", "GET", "no-appendfsync-on-rewrite")
	if _, err := pipe.Exec(ctx); err != nil && (info.Err() != nil || info.Val() == "") {
		return nil, err
	}
	fields := parseInfo(info.Val())
	s := &server{node: node, addr: node.Options().Addr, version: fields["redis_version"], history: fields["master_replid"]}
	s.replicas, _ = strconv.Atoi(fields["connected_slaves"])
	if port := fields["tcp_port"]; e.cfg.MasterName != "" {
		s.addr = e.cfg.MasterName + " (port " + port + ")" // the library does not tell which host the sentinels named
	}
	if fields["role"] != "master" {
		return nil, fmt.Errorf("%w: %s follows %s:%s; name the primary in addrs, or the sentinels and master_name", errReplica, s.addr, fields["master_host"], fields["master_port"])
	}
	major, minor := parseVersion(s.version)
	s.waitAOF = major > 7 || major == 7 && minor >= 2
	if major < 7 {
		return nil, unsafe(s, "version", s.version, "7.0 or newer", "install Redis 7.0 or newer")
	}
	var err error
	if s.fsync, err = setting(s, config); err != nil {
		return nil, err
	}
	onRewrite, err := setting(s, rewrite)
	if err != nil {
		return nil, err
	}
	return s, e.judge(s, fields, onRewrite)
}

// judge compares the settings with what keeps acknowledged commits.
func (e *Engine) judge(s *server, info map[string]string, onRewrite string) error {
	if (info["cluster_enabled"] == "1") != e.cfg.Cluster {
		return unsafe(s, "cluster-enabled", info["cluster_enabled"], "as configured here", "set cluster in the gateway's store configuration to what the server is")
	}
	if info["aof_enabled"] != "1" {
		return unsafeSetting(s, "appendonly", "no", "yes")
	}
	if s.fsync != "always" && (s.fsync != "everysec" || !e.cfg.AllowEverySec) {
		return unsafeSetting(s, "appendfsync", s.fsync, "always")
	}
	if onRewrite != "no" {
		return unsafeSetting(s, "no-appendfsync-on-rewrite", onRewrite, "no")
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return unsafeSetting(s, "maxmemory-policy", policy, "noeviction")
	}
	return nil
}

func unsafe(s *server, name, value, want, remedy string) error {
	return fmt.Errorf("%w: redis at %s: %w: %s is %q, must be %s; %s", storage.ErrUnavailable, s.addr, ErrUnsafe, name, value, want, remedy)
}

func unsafeSetting(s *server, name, value, want string) error {
	return unsafe(s, name, value, want,
		fmt.Sprintf("write %q into redis.conf and restart, or run CONFIG SET %s %s and CONFIG REWRITE", name+" "+want, name, want))
}

// setting reads the reply of CONFIG GET. Without it, nobody knows when the server syncs.
func setting(s *server, cmd *redis.Cmd) (string, error) {
	got, err := cmd.Result()
	if text, refused := reply(err); refused {
		return "", fmt.Errorf("%w: redis at %s: %w: CONFIG GET is refused (%s), so it cannot be known when commits are on disk; allow it: ACL SETUSER <user> +config|get, and do not rename CONFIG",
			storage.ErrUnavailable, s.addr, ErrUnsafe, text)
	}
	if err != nil {
		return "", err
	}
	if pair, _ := got.([]any); len(pair) == 2 {
		value, _ := pair[1].(string)
		return value, nil
	}
	return "", fmt.Errorf("%w: redis at %s: %w: CONFIG GET answered %v", storage.ErrUnavailable, s.addr, ErrUnsafe, got)
}

// enroll binds the server's history to the store, or finds out that the store is not the known one.
func (e *Engine) enroll(ctx context.Context, s *server) error {
	asked := e.Position()
	k := e.keys
	got, err := s.node.EvalSha(ctx, scriptEnroll.sha, []string{k.epoch(), k.history(), k.commits(), k.forks()},
		s.history, asked.Epoch, newEpoch(), e.cfg.ClockSkew.Microseconds()).Result()
	a, err := decode(got, err, s)
	switch {
	case err != nil:
		return err
	case a.code == codeCheck:
		return errChanged
	case a.code == codeConflict:
		epoch, _ := a.values[0].(string)
		if err := e.settle(asked, Position{Epoch: epoch}, nil); err != nil {
			return unavailable(err)
		}
		return errChanged
	case len(a.values) < 2:
		return fmt.Errorf("%w: enrolling answered %v", storage.ErrUnavailable, a.values)
	}
	s.epoch, _ = a.values[0].(string)
	text, _ := a.values[1].(string)
	commits, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the store's count of commits is %q", storage.ErrUnavailable, text)
	}
	forks, err := parseForks(a.values[2:])
	if err != nil {
		return unavailable(err)
	}
	if err := e.settle(asked, Position{Epoch: s.epoch, History: s.history, Commit: commits}, forks); err != nil {
		return unavailable(err)
	}
	return nil
}

func newEpoch() string {
	v := storage.NewVersion()
	return fmt.Sprintf("%x", v[:])
}

// parseInfo reads the lines "name:value" of INFO.
func parseInfo(text string) map[string]string {
	fields := make(map[string]string, 200)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

func parseVersion(text string) (major, minor int) {
	parts := strings.SplitN(text, ".", 3)
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	return major, minor
}
