package redis

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	maxName  = 512 // octets of a key, an index or sequence name, a member
	maxToken = 64
	maxPage  = 1000
	maxBlock = 10_000
)

// hashTag is the only place where keys get their hash tag: one for each deployment, so that Cluster keeps all its keys in
// one slot and a script may touch any of them.
func hashTag(name string) string { return "{" + name + "}:" }

// keyring makes the Redis keys of a deployment. The octet behind the tag is the kind, so that kinds cannot collide: r
// records, i indexes, s sequences, t tokens, l limits. The engine's own keys begin with other letters.
type keyring struct{ tag string }

func (k keyring) record(key storage.Key) string { return k.tag + "r" + string(key) }
func (k keyring) index(name string) string      { return k.tag + "i" + name }
func (k keyring) sequence(name string) string   { return k.tag + "s" + name }
func (k keyring) token(value []byte) string     { return k.tag + "t" + string(value) }
func (k keyring) limit(key storage.Key) string  { return k.tag + "l" + string(key) }
func (k keyring) epoch() string                 { return k.tag + "epoch" }   // 32 hexadecimal digits made at install
func (k keyring) history() string               { return k.tag + "history" } // replication id, ":", marks valid since (µs)
func (k keyring) commits() string               { return k.tag + "commits" } // number of commits ever applied
func (k keyring) forks() string                 { return k.tag + "forks" }   // list: old id, new id, commits at the change
func (k keyring) doubt() string                 { return k.tag + "doubt" }   // there while a commit may lack replicas
func (k keyring) barrier() string               { return k.tag + "barrier" } // written to have something to wait for
func (k keyring) channel() string               { return k.tag + "wake" }    // of hints
func (k keyring) records(keys []storage.Key, to []string) []string {
	for _, key := range keys {
		to = append(to, k.record(key))
	}
	return to
}

func checkKey(key storage.Key) error {
	if len(key) < 1 || len(key) > maxName {
		return fmt.Errorf("storage: a key has 1 to %d octets, not %d", maxName, len(key))
	}
	return nil
}

func checkKeys(keys []storage.Key) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	return nil
}

func checkName(what, name string) error {
	if len(name) < 1 || len(name) > maxName {
		return fmt.Errorf("storage: the name of %s has 1 to %d octets, not %d", what, maxName, len(name))
	}
	return nil
}

func checkEntry(entry storage.Entry) error {
	if len(entry.Member) > maxName {
		return fmt.Errorf("storage: a member has at most %d octets, not %d", maxName, len(entry.Member))
	}
	return checkName("an index", entry.Index)
}
