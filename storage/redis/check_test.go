package redis

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// Settings that lose what was acknowledged are refused, and the message says what to set.
func TestUnsafeSettings(t *testing.T) {
	s := redistest.Start(t)
	for _, test := range []struct{ name, unsafe, safe, remedy string }{
		{"appendonly", "no", "yes", `write "appendonly yes" into redis.conf`},
		{"appendfsync", "everysec", "always", `write "appendfsync always" into redis.conf`},
		{"appendfsync", "no", "always", `CONFIG SET appendfsync always`},
		{"no-appendfsync-on-rewrite", "yes", "no", `CONFIG SET no-appendfsync-on-rewrite no`},
		{"maxmemory-policy", "allkeys-lru", "noeviction", `write "maxmemory-policy noeviction" into redis.conf`},
		{"maxmemory-policy", "volatile-ttl", "noeviction", `CONFIG SET maxmemory-policy noeviction`},
	} {
		s.Do("CONFIG SET " + test.name + " " + test.unsafe)
		c := single(s)
		_, err := Open(t.Context(), c)
		if !errors.Is(err, ErrUnsafe) || !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), test.remedy) || !strings.Contains(err.Error(), s.Addr) {
			t.Errorf("%s %s: %v", test.name, test.unsafe, err)
		}
		c.AllowEverySec = true
		e, err := Open(t.Context(), c)
		if accepted := test.unsafe == "everysec"; accepted != (err == nil) {
			t.Errorf("%s %s where everysec is allowed: %v", test.name, test.unsafe, err)
		}
		if err == nil {
			if d := e.Health(t.Context()).Durability; !strings.Contains(d, "each second") {
				t.Errorf("Durability is %q", d)
			}
			e.Close()
		}
		s.Do("CONFIG SET " + test.name + " " + test.safe)
	}
	for _, key := range s.Do("KEYS *").([]any) { // of the one deployment that was opened
		if !strings.HasSuffix(key.(string), ":epoch") && !strings.HasSuffix(key.(string), ":history") {
			t.Errorf("a refused server holds %q", key)
		}
	}
	e := open(t, single(s))
	wantWorks(t, e)
	if d := e.Health(t.Context()).Durability; !strings.Contains(d, "synced before a commit is acknowledged") || !strings.Contains(d, "min_replicas is 0") {
		t.Errorf("Durability is %q", d)
	}
}

// A setting that is changed while the engine runs stops it, and it goes on when the setting is put right.
func TestSettingChanges(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, single(s))
	wantWorks(t, e)
	s.Do("CONFIG SET appendfsync everysec")
	eventually(t, func() bool { return errors.Is(calls(e)["Commit"](t.Context()), ErrUnsafe) })
	wantUnavailable(t, e, "appendfsync")
	s.Do("CONFIG SET appendfsync always")
	eventually(t, func() bool { return calls(e)["Commit"](t.Context()) == nil })
	wantWorks(t, e)
}

// A new connection looks at the settings at once, not only when the next turn comes.
func TestSettingsAfterReconnect(t *testing.T) {
	s := redistest.Start(t)
	way := &detour{t: t}
	c := single(s)
	c.Dial, c.CheckEvery = way.dial, time.Hour
	e := open(t, c)
	s.Do("CONFIG SET maxmemory-policy allkeys-lfu")
	wantWorks(t, e)
	way.proxy(s.Addr).Cut()
	eventually(t, func() bool { return errors.Is(calls(e)["Get"](t.Context()), ErrUnsafe) })
}

// eventually waits for what the engine notices by itself.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if done() {
			return
		}
		<-tick.C
	}
	t.Fatal("it does not happen")
}

func TestReplicaRefused(t *testing.T) {
	primary := redistest.Start(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := redistest.Start(t, "replicaof "+host+" "+port)
	primary.WaitReplicas(1)
	if _, err := Open(t.Context(), single(replica)); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "name the primary") {
		t.Errorf("a replica: %v", err)
	}
}

func TestClusterMismatch(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	c.Cluster = true
	if _, err := Open(t.Context(), c); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("one server as a Cluster: %v", err)
	}
	node := redistest.Start(t, "cluster-enabled yes")
	if _, err := Open(t.Context(), single(node)); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("a Cluster node as one server: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	for _, c := range []Config{{Addrs: []string{addr}}, {Addrs: []string{addr}, MasterName: "m"}, {Addrs: []string{addr}, Cluster: true}} {
		if _, err := Open(t.Context(), c); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestConfig(t *testing.T) {
	ok := Config{Addrs: []string{"localhost:6379"}}
	if _, err := ok.withDefaults(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Config){
		"no address":        func(c *Config) { c.Addrs = nil },
		"no port":           func(c *Config) { c.Addrs = []string{"localhost"} },
		"two addresses":     func(c *Config) { c.Addrs = append(c.Addrs, "localhost:6380") },
		"two ways":          func(c *Config) { c.MasterName, c.Cluster = "m", true },
		"brace in the name": func(c *Config) { c.Name = "a}b" },
		"long name":         func(c *Config) { c.Name = strings.Repeat("x", 65) },
		"replicas":          func(c *Config) { c.MinReplicas = -1 },
		"timeout":           func(c *Config) { c.Timeout = -1 },
		"microseconds":      func(c *Config) { c.ReplicaTimeout = time.Microsecond },
	} {
		c := ok
		spoil(&c)
		if _, err := c.withDefaults(); err == nil {
			t.Errorf("%s: accepted", what)
		}
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}

// user is that of the package comment.
const user = "user gatehouse on >secret ~{%name%}:* &{%name%}:* -@all +evalsha +script|load +info +config|get +time" +
	" +exists +get +mget +getrange +set +del +type +incr +incrby +zadd +zrem +zcard +zlexcount +zrange" +
	" +lpush +ltrim +lrange +wait +publish +subscribe +unsubscribe +ping +cluster|slots"

func TestACL(t *testing.T) {
	for _, test := range []struct{ without, text string }{{}, {" +config|get", "+config|get"}, {" +zadd", "NOPERM"}, {" +evalsha", "NOPERM"}} {
		name := deployment()
		s := redistest.Start(t, strings.ReplaceAll(strings.ReplaceAll(user, "%name%", name), test.without, ""))
		c := Config{Addrs: []string{s.Addr}, Name: name, Username: "gatehouse", Password: "secret"}
		e, err := Open(t.Context(), c)
		if err == nil {
			err = e.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k"}}, Adds: []storage.Entry{{Index: "i", Member: []byte("m")}}})
			defer e.Close()
		}
		if test.text != "" {
			if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("a user without%s: %v", test.without, err)
			}
			if n := s.Client().Exists(t.Context(), keyring{tag: hashTag(name)}.record("k")).Val(); n != 0 {
				t.Errorf("a user without%s: half of the commit was applied", test.without)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		workout(t, e)
		c.Password = "wrong"
		if _, err := Open(t.Context(), c); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("a wrong password: %v", err)
		}
		c.Password, c.Name = "secret", "other"
		if _, err := Open(t.Context(), c); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("keys of another deployment: %v", err)
		}
	}
}

// workout uses every command there is.
func workout(t *testing.T, e *Engine) {
	t.Helper()
	ctx := t.Context()
	wantWorks(t, e)
	b := storage.Batch{
		Version:    storage.NewVersion(),
		Conditions: []storage.Condition{{Key: "k", Want: storage.Present}},
		Puts:       []storage.Put{{Key: "soon", Expires: time.Now().Add(time.Hour)}},
		Deletes:    []storage.Key{"k"},
		Removes:    []storage.Entry{{Index: "i", Member: []byte("m")}},
		Adds:       []storage.Entry{{Index: "i", Member: []byte("n")}},
	}
	if err := e.Commit(ctx, b); err != nil {
		t.Errorf("Commit: %v", err)
	}
	now, err := e.Now(ctx)
	if err != nil {
		t.Errorf("Now: %v", err)
	}
	token := storage.Token{Value: []byte("t"), Made: now.Add(time.Second), Until: now.Add(time.Hour)}
	spent, err := e.Spend(ctx, token, []storage.Limit{{Key: "l", Interval: time.Second, Burst: 1, Cost: 1}}, "soon")
	if err != nil || !spent.Fresh || !spent.Items[0].Found {
		t.Errorf("Spend: %+v, %v", spent, err)
	}
	members, err := e.Scan(ctx, "i", storage.Range{From: []byte("n")}, storage.Page{Limit: 1, Reverse: true})
	if err != nil || len(members) != 1 {
		t.Errorf("Scan: %q, %v", members, err)
	}
	// The barrier and the doubt need commands of their own.
	e.publishDoubt(ctx)
	if err := e.barrier(ctx); err != nil {
		t.Errorf("barrier: %v", err)
	}
	heard := e.Watch(ctx, "topic")
	other := open(t, e.cfg)
	hint(t, other, heard)
}

// hint wakes again and again, because hints may be lost, until one is heard.
func hint(t *testing.T, e *Engine, heard <-chan string) {
	t.Helper()
	eventually(t, func() bool {
		e.Wake(t.Context(), "topic")
		select {
		case topic := <-heard:
			return topic == "topic"
		default:
			return false
		}
	})
}
