package embedded

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// killDirEnv makes the test binary a writer that the test kills.
const killDirEnv = "GATEHOUSE_TEST_KILL_DIR"

// writeUntilKilled commits from several goroutines and prints each number once it is acknowledged. A number comes from a
// sequence; its record, its index member and its writer's running total change in one commit.
func writeUntilKilled(dir string) {
	e, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for {
				if err := writeOne(e, worker, &out); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		})
	}
	all.Wait()
}

func writeOne(e *Engine, worker int, out *sync.Mutex) error {
	ctx := context.Background()
	id, err := e.NextID(ctx, "numbers", 1)
	if err != nil {
		return err
	}
	total := storage.Key(fmt.Sprint("total/", worker))
	items, err := e.Get(ctx, total)
	if err != nil {
		return err
	}
	sum := uint64(id)
	condition := storage.Condition{Key: total, Want: storage.Absent}
	if items[0].Found {
		sum += binary.BigEndian.Uint64(items[0].Value)
		condition = storage.Condition{Key: total, Want: storage.Equals, Version: items[0].Version}
	}
	err = e.Commit(ctx, storage.Batch{
		Version:    storage.NewVersion(),
		Conditions: []storage.Condition{condition, {Key: numberKey(id), Want: storage.Absent}},
		Puts: []storage.Put{
			{Key: total, Value: binary.BigEndian.AppendUint64(nil, sum)},
			{Key: numberKey(id), Value: []byte(fmt.Sprint(worker))},
		},
		Adds: []storage.Entry{{Index: "numbers", Member: binary.BigEndian.AppendUint64(nil, uint64(id))}},
	})
	if err != nil {
		return err
	}
	out.Lock()
	defer out.Unlock()
	fmt.Println(id)
	return nil
}

func numberKey(id int64) storage.Key { return storage.Key(fmt.Sprint("number/", id)) }

// A process killed under load loses nothing it acknowledged and leaves no half commit.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	acknowledged := map[int64]bool{}
	for round := range 3 {
		for _, id := range killed(t, dir, 300*(round+1)) {
			if acknowledged[id] {
				t.Errorf("the number %d was given twice", id)
			}
			acknowledged[id] = true
		}
		e, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatalf("opening after a kill: %v", err)
		}
		survived(t, e, acknowledged)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs a writer, kills it after it acknowledged n commits, and returns all it acknowledged.
func killed(t *testing.T, dir string, n int) (ids []int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var id int64
		if _, err := fmt.Sscanln(lines.Text(), &id); err != nil {
			break // the last line may be cut off: its number was acknowledged to nobody
		}
		if ids = append(ids, id); len(ids) == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(ids) < n {
		t.Fatalf("the writer ended by itself: %s", stderr.String())
	}
	return ids
}

func survived(t *testing.T, e *Engine, acknowledged map[int64]bool) {
	t.Helper()
	for err := range checkFile(e) {
		t.Fatalf("the file is damaged: %v", err)
	}
	members := map[int64]bool{}
	records := map[int64]int{}
	totals := map[int]uint64{}
	var last int64
	err := e.Export(t.Context(), Visitor{
		Record: func(key storage.Key, item storage.Item, expires time.Time) error {
			var id int64
			var worker int
			if _, err := fmt.Sscanf(string(key), "number/%d", &id); err == nil {
				_, err = fmt.Sscan(string(item.Value), &worker)
				records[id] = worker
				return err
			}
			_, err := fmt.Sscanf(string(key), "total/%d", &worker)
			totals[worker] = binary.BigEndian.Uint64(item.Value)
			return err
		},
		Member: func(entry storage.Entry) error {
			members[int64(binary.BigEndian.Uint64(entry.Member))] = true
			return nil
		},
		Sequence: func(_ string, at int64) error { last = at; return nil },
	})
	if err != nil {
		t.Fatalf("Export: %v", err)
	}
	sums := map[int]uint64{}
	for id, worker := range records {
		sums[worker] += uint64(id)
		if !members[id] || id > last {
			t.Errorf("the record of %d has no index member, or lies behind the sequence at %d", id, last)
		}
	}
	for id := range acknowledged {
		if _, found := records[id]; !found {
			t.Errorf("%d was acknowledged and is gone", id)
		}
	}
	if len(members) != len(records) || fmt.Sprint(sums) != fmt.Sprint(totals) {
		t.Errorf("%d members and %d records; totals %v and sums %v", len(members), len(records), totals, sums)
	}
}

func checkFile(e *Engine) <-chan error {
	found := make(chan error, 1)
	defer close(found)
	err := e.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
	if err != nil {
		found <- err
	}
	return found
}
