package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// storeWithin bounds what a store may take to be opened and asked.
const storeWithin = 15 * time.Second

// running reports whether a gateway answers on a folder's admin socket.
func running(folder string) bool {
	c, err := net.Dial("unix", filepath.Join(folder, adminSocket))
	if err != nil {
		return errors.Is(err, os.ErrPermission) // somebody else's gateway's socket
	}
	c.Close()
	return true
}

// writable tries to make a file in a folder, or in the nearest folder above it that exists.
func writable(folder string) error {
	for {
		f, err := os.CreateTemp(folder, ".gatehouse-check-*")
		if err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
		if !errors.Is(err, os.ErrNotExist) || folder == filepath.Dir(folder) {
			return err
		}
		folder = filepath.Dir(folder)
	}
}

// checkState says what the data folder and the store hold. What a running gateway holds is left alone; a store that
// gateways share is asked in any case.
func checkState(ctx context.Context, s *settings, serving bool) []checkResult {
	const local = "not compared: the embedded store has this machine's"
	shared := s.redis != nil
	if serving {
		held := checkResult{"data folder", true, "held by the running gateway, as are the ports; what it holds is not looked into"}
		if shared {
			return append([]checkResult{held}, checkStore(ctx, s)...)
		}
		return []checkResult{held, {"store", true, "embedded, and the running gateway's: its /readyz tells"}, {"clock", true, local}}
	}
	folder, fresh := checkFolder(s)
	out := []checkResult{folder}
	if !folder.OK {
		return out
	}
	if !fresh {
		out = append(out, checkJournal(filepath.Join(s.folder, "journal")))
	}
	if shared {
		return append(out, checkStore(ctx, s)...)
	}
	if hasStore, _ := holdsFiles(filepath.Join(s.folder, "store"), "*"); hasStore {
		out = append(out, checkStore(ctx, s)...)
	} else {
		out = append(out, checkResult{"store", true, "embedded; the next start makes it"})
	}
	return append(out, checkResult{"clock", true, local})
}

// checkFolder says what the data folder is; fresh means that no gateway has run on it.
func checkFolder(s *settings) (r checkResult, fresh bool) {
	state, err := lookAtFolder(s)
	if err != nil {
		return checkResult{"data folder", false, err.Error()}, false
	}
	if err := writable(s.folder); err != nil {
		return checkResult{"data folder", false, err.Error()}, false
	}
	switch {
	case !state.hasJournal && s.redis != nil:
		return checkResult{"data folder", true, s.folder + " is empty; the first start makes the journal"}, true
	case !state.hasJournal:
		return checkResult{"data folder", true, s.folder + " is empty; the first start makes store and journal"}, true
	case !state.hasStore && s.redis == nil:
		return checkResult{"data folder", true, s.folder + " holds a journal but no store; the next start makes the store from it"}, false
	}
	return checkResult{"data folder", true, s.folder + " holds what a gateway left"}, false
}

// checkStore opens the store, as a start would; settings that it refuses are told with what to set. A Redis that has
// never been a store is marked as one by that, and nothing else is written.
func checkStore(ctx context.Context, s *settings) []checkResult {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	if s.redis != nil {
		redis.RouteLog(s.log) // what the client would write by itself
	}
	engine, err := s.openEngine(ctx, nil)
	if err != nil {
		return []checkResult{{"store", false, err.Error()}}
	}
	defer engine.Close()
	h := engine.Health(ctx)
	if h.Err != nil {
		return []checkResult{{"store", false, h.Err.Error()}}
	}
	if err := checkDeployment(ctx, s, engine); err != nil {
		return []checkResult{{"store", false, err.Error()}}
	}
	out := []checkResult{{"store", true, h.Engine + ": " + h.Durability}}
	if s.redis != nil {
		out = append(out, checkClock(ctx, engine))
	}
	out = append(out, checkTenants(ctx, s, engine)...)
	return out
}

// checkDeployment compares the store's id with the one that the data folder remembers.
func checkDeployment(ctx context.Context, s *settings, engine storage.Engine) error {
	member, err := readMembership(s.folder)
	if err != nil || member.Deployment == "" {
		return err
	}
	id, found, err := storage.DeploymentOf(ctx, engine)
	if err == nil && found && id != "" && id != member.Deployment {
		err = fmt.Errorf("it belongs to deployment %s, and the data folder %s to %s; configure the store that belongs to the folder", id, s.folder, member.Deployment)
	}
	return err
}

// checkClock compares the machine's clock with the store's, which all gateways share.
func checkClock(ctx context.Context, engine storage.Engine) checkResult {
	offset, err := clockOffset(ctx, engine)
	if err != nil {
		return checkResult{"clock", false, err.Error()}
	}
	if offset.Abs() > clockAlarm {
		return checkResult{"clock", false, fmt.Sprintf("the store's clock is %s ahead of this machine's; set both by NTP (more than %s alarms, more than %s stops issuance)",
			offset.Round(time.Millisecond), clockAlarm, clockStop)}
	}
	return checkResult{"clock", true, fmt.Sprintf("%s apart from the store's", offset.Abs().Round(time.Millisecond))}
}

func checkJournal(folder string) checkResult {
	report, err := audit.Verify(folder)
	if err != nil {
		return checkResult{"journal", false, err.Error()}
	}
	return checkResult{"journal", true, fmt.Sprintf("%d entries, the chain is whole, end %s", report.Entries, report.Head)}
}
