package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	labFile    = "lab.json"       // in a lab's data folder
	labFolders = "gatehouse-lab-" // in front of temporary ones' names
	labOrg     = "lab"
)

// labState is where everything of a lab is. It is kept in the lab's data folder, for the commands that use a running lab
// and as the mark that the folder is one.
type labState struct {
	Directory string `json:"directory"` // URL, of the default profile
	Root      string `json:"root"`      // file with the certificate to trust
	DNS       string `json:"dns"`       // host:port of the DNS server, which takes dynamic updates
	HTTP01    uint16 `json:"http01"`    // the port at 127.0.0.1 where a client answers
	TLSALPN01 uint16 `json:"tlsAlpn01"` // the same for tls-alpn-01
	Data      string `json:"data"`      // the folder
}

// in is the directory of a profile.
func (l labState) in(profile string) string {
	if profile == labProfile {
		return l.Directory
	}
	return fmt.Sprintf("%s/in/%s/%s/directory", strings.TrimSuffix(l.Directory, "/directory"), labOrg, profile)
}

func (l labState) write() error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(l.Data, labFile), append(text, '\n'))
}

// running reports whether a gateway serves in the lab's folder.
func (l labState) running() bool {
	c, err := net.Dial("unix", filepath.Join(l.Data, adminSocket))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// claimLabFolder lets a lab begin in a folder that holds nothing, or an earlier lab that has ended.
func claimLabFolder(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		return err
	}
	l, err := readLab(folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("--data: %s holds something that is no lab's; name a new or an empty folder", folder)
	case err != nil:
		return err
	case l.running():
		return fmt.Errorf("--data: a lab runs in %s already; end that first, or name another folder", folder)
	}
	return nil
}

func readLab(folder string) (l labState, err error) {
	text, err := os.ReadFile(filepath.Join(folder, labFile))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(text, &l); err != nil || l.Directory == "" {
		return l, fmt.Errorf("%s cannot be read (%v); remove its folder and start a new lab", filepath.Join(folder, labFile), err)
	}
	l.Data = folder
	return l, nil
}

// findLab is the running lab of a folder or, without one, the only one that runs in a temporary folder of this user.
func findLab(folder string) (labState, error) {
	if folder != "" {
		l, err := readLab(folder)
		if err == nil && !l.running() {
			err = fmt.Errorf("no lab runs in %s; start it with gatehouse lab --data %s", folder, folder)
		} else if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("--data: %s holds no lab; start one with gatehouse lab", folder)
		}
		return l, err
	}
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), labFolders+"*"))
	if err != nil {
		return labState{}, err
	}
	var found []labState
	for _, folder := range folders {
		if !isOwn(folder) {
			continue // whoever made it would tell us whom to trust
		}
		if l, err := readLab(folder); err == nil && l.running() {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return labState{}, errors.New("no lab runs in a temporary folder; start one with gatehouse lab, or name the folder of one with --data, or give --once")
	}
	return labState{}, fmt.Errorf("%d labs run; name the folder of one with --data, for example %s", len(found), found[0].Data)
}

// isOwn reports whether a path is a folder of this user's, that nobody else may write to, and no link to one.
func isOwn(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
