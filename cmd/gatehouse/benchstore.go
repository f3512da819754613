package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// benchStoreFlags name the store that is filled or measured. There is no default and no configuration file: nobody fills a
// gateway's store by forgetting a flag.
type benchStoreFlags struct {
	Store     string   `help:"Folder of an embedded store of its own; made if it does not exist." type:"path" placeholder:"DIR"`
	Redis     []string `help:"A Redis of its own, appendonly yes and appendfsync always; several addresses are a Cluster's nodes." placeholder:"HOST:PORT"`
	RedisName string   `help:"Name of the deployment in Redis." default:"gatehouse-bench" placeholder:"NAME"`
}

// stockDeployment begins the ids of deployments that "bench load" made. No gateway makes such an id.
const stockDeployment = "bench-"

// benchStore is a store that was made to be measured.
type benchStore struct {
	storage.Engine
	db    *storage.DB
	kind  string // "embedded" or "redis"
	batch int64  // enrollments of one commit, at most 10,000
	size  func(ctx context.Context) (int64, error)
	end   func() error
}

func (s *benchStore) close() error { return errors.Join(s.Engine.Close(), s.end()) }

// open opens the store that the flags name. What is not a store of "bench load", and not empty, is refused untouched.
func (f *benchStoreFlags) open(ctx context.Context) (_ *benchStore, err error) {
	s := &benchStore{batch: stockBatch, end: func() error { return nil }}
	switch {
	case (f.Store == "") == (len(f.Redis) == 0):
		return nil, errors.New("name the store that is to be used: --store DIR, or --redis HOST:PORT")
	case f.Store != "":
		err = f.openEmbedded(s)
	default:
		err = f.openRedis(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	deployment, found, err := storage.DeploymentOf(ctx, s.Engine)
	switch {
	case err != nil:
		return nil, err
	case found && !strings.HasPrefix(deployment, stockDeployment):
		return nil, fmt.Errorf("this is the store of a gateway (deployment %s), and only a store that bench load made itself is filled or measured; name another", deployment)
	}
	if !found {
		deployment = stockDeployment + rand.Text()
	}
	s.db, err = storage.Open(ctx, storage.Config{Engine: s.Engine, Issuers: []string{stockIssuer}, Deployment: deployment})
	return s, err
}

func (f *benchStoreFlags) openEmbedded(s *benchStore) (err error) {
	parent := filepath.Dir(f.Store)
	member, err := readMembership(parent)
	if err != nil {
		return err
	}
	journal, err := holdsFiles(filepath.Join(parent, "journal"), journalFiles)
	if err != nil {
		return err
	}
	if journal || member != (membership{}) {
		return fmt.Errorf("%s is a gateway's data folder, whose store is not to be filled or measured; name a folder elsewhere", parent)
	}
	s.kind = "embedded"
	s.size = func(context.Context) (int64, error) { return diskUsage(f.Store) }
	s.Engine, err = embedded.Open(embedded.Config{Dir: f.Store})
	return err
}

func (f *benchStoreFlags) openRedis(ctx context.Context, s *benchStore) (err error) {
	config := redis.Config{Addrs: f.Redis, Cluster: len(f.Redis) > 1, Name: f.RedisName}
	if err := config.Check(); err != nil {
		return err
	}
	at := strings.Join(f.Redis, ", ")
	if err := reach(ctx, f.Redis[0]); err != nil {
		return fmt.Errorf("reaching the Redis at %s: %w", at, err)
	}
	server := newBenchRedis(f.Redis)
	defer func() {
		if err != nil {
			err = errors.Join(err, server.Close())
		}
	}()
	keys, err := server.DBSize(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking the Redis at %s: %w", at, err)
	}
	ours, err := server.Exists(ctx, "{"+f.RedisName+"}:epoch").Result()
	switch {
	case err != nil:
		return fmt.Errorf("asking the Redis at %s: %w", at, err)
	case keys > 0 && ours == 0:
		return fmt.Errorf("the Redis at %s holds %d keys, and none of a deployment named %s; start a server for this alone", at, keys, f.RedisName)
	}
	s.kind, s.end = "redis", server.Close
	s.size = func(ctx context.Context) (int64, error) { return usedMemory(ctx, server) }
	s.Engine, err = redis.Open(ctx, config)
	return err
}

// newBenchRedis is a client for what the engine has no method for.
func newBenchRedis(addrs []string) goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs: addrs, IsClusterMode: len(addrs) > 1, Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// reach connects once. It is asked first, because the client logs each failure to connect by itself.
func reach(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// usedMemory adds up used_memory of every primary.
func usedMemory(ctx context.Context, client goredis.UniversalClient) (int64, error) {
	return addUp(ctx, client, "memory", func(info string) (int64, error) { return infoNumber(info, "used_memory") })
}

// total counts the enrollments in the store.
func (s *benchStore) total(ctx context.Context) (int64, error) {
	found, err := s.db.Search(ctx, ra.Query{Limit: 1}, time.Now())
	return found.Total, err
}

// check refuses a store that holds more than "bench load" put into it.
func (s *benchStore) check(ctx context.Context) (total int64, err error) {
	journals, err := s.db.Journals(ctx)
	if err != nil {
		return 0, err
	}
	if len(journals) > 0 {
		return 0, errors.New("a gateway has served on this store, so it may hold what people rely on; load another")
	}
	if total, err = s.total(ctx); err != nil {
		return 0, err
	}
	var ours int64
	for _, org := range stockOrgs {
		for _, p := range stockProfiles {
			found, err := s.db.Search(ctx, ra.Query{Org: org.id, Profile: p.name, Limit: 1}, time.Now())
			if err != nil {
				return 0, err
			}
			ours += found.Total
		}
	}
	if ours != total {
		return 0, fmt.Errorf("the store holds %d enrollments, and bench load made %d of them; load another", total, ours)
	}
	return total, nil
}
