package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestNoSecretInRedis, neither in its file of commands nor in a dump; and links serve there as elsewhere.
func TestNoSecretInRedis(t *testing.T) {
	redistest.Need(t)
	server := redistest.Start(t)
	engine, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr}, Name: "keys"})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w := newKeyWorldOn(t, engine)
	w.clock.set(time.Now()) // which is the server's
	made, own := w.made("www.example.com"), newKey(t)
	uploaded := w.own("kept", own, "own.example.com")
	_, err = w.UploadKey(t.Context(), kim, uploaded.ID, own)
	must(t, err)
	var all [][]byte
	for _, e := range []*ra.Enrollment{made, uploaded} {
		key, err := w.take(kim, e.ID)
		must(t, err)
		w.belongs(key, e)
		all = append(all, secrets(t, key)...)
	}
	link, _, err := w.OfferDownload(t.Context(), kim, made.ID, inClear)
	must(t, err)
	must(t, server.Client().Save(t.Context()).Err())
	files := everything(t, server.Dir)
	mustLack(t, "Redis", files, append(all, []byte(link))...)
	if len(files) < 1000 {
		t.Errorf("Redis has %d octets in its files", len(files))
	}
	_, err = w.DestroyKey(t.Context(), kim, made.ID)
	must(t, err)
	if w.hasKey(made) {
		t.Error("the key is still there")
	}
}
