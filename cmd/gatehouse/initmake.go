package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// initReport is what an init made and what comes next.
type initReport struct {
	Created bool   `json:"created"` // false: everything was there
	Folder  string `json:"folder"`
	Config  string `json:"config"`

	Data          string    `json:"data,omitempty"`
	Root          string    `json:"root,omitempty"` // certificate to be trusted
	RootSHA256    string    `json:"rootSha256,omitempty"`
	RootNotAfter  time.Time `json:"rootNotAfter,omitzero"`
	RootFolder    string    `json:"rootFolder,omitempty"` // to be moved away: holds the root's key
	Issuer        string    `json:"issuer,omitempty"`
	IssuerEnd     time.Time `json:"issuerNotAfter,omitzero"`
	Directory     string    `json:"directory,omitempty"`
	rootCN, isCN  string
	forATry, http bool
}

// initTemporary holds the configuration until it is whole.
const initTemporary = "." + initConfig + ".new"

// make writes everything, the configuration last. Nothing is overwritten: whoever makes the folder of issuers first goes on.
func (p *plan) make() (*initReport, error) {
	text := p.configuration()
	if _, err := parseConfig(filepath.Join(p.folder, initConfig), text); err != nil {
		return nil, fmt.Errorf("the configuration would not be read again: %w", err)
	}
	h, err := newHierarchy(p.name, p.now)
	if err != nil {
		return nil, err
	}
	rootKey, err := keyText(h.rootKey)
	if err != nil {
		return nil, err
	}
	issuerKey, err := keyText(h.issuerKey)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.folder); errors.Is(err, os.ErrNotExist) {
		if err := newFolders(p.folder); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("making the folder: %w", err)
		}
	}
	issuer, root := p.issuerFolder(), filepath.Join(p.folder, initRootFolder)
	for _, folder := range []string{filepath.Dir(issuer), issuer, root} {
		if err := newFolders(folder); err != nil {
			if errors.Is(err, os.ErrExist) {
				return nil, fmt.Errorf("another init has just made %s; nothing of it was changed", folder)
			}
			return nil, fmt.Errorf("making the folder: %w", err)
		}
	}
	for _, f := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{
		{filepath.Join(root, "root.key"), rootKey, 0o600},
		{filepath.Join(root, "root.pem"), certText(h.root), 0o644},
		{filepath.Join(p.folder, initRootCert), certText(h.root), 0o644},
		{filepath.Join(p.folder, initSealKey), newSealKey(), 0o600},
		{filepath.Join(issuer, "issuer.key"), issuerKey, 0o600},
		{filepath.Join(issuer, "issuer.pem"), certText(h.issuer, h.root), 0o644},
	} {
		if err := newFile(f.path, f.content, f.mode); err != nil {
			return nil, fmt.Errorf("writing what the authority needs: %w", err)
		}
	}
	if err := p.writeConfiguration(text); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return p.report(h.root, h.issuer), nil
}

func (p *plan) issuerFolder() string { return filepath.Join(p.folder, initIssuers, initIssuer) }

// writeConfiguration makes the file appear whole, and not over another.
func (p *plan) writeConfiguration(text []byte) error {
	temporary, path := filepath.Join(p.folder, initTemporary), filepath.Join(p.folder, initConfig)
	if err := newFile(temporary, text, 0o644); err != nil {
		return err
	}
	err := os.Link(temporary, path)
	switch {
	case err == nil:
		err = os.Remove(temporary)
	case !errors.Is(err, os.ErrExist): // a file system without hard links; nobody else is making this folder
		err = os.Rename(temporary, path)
	}
	return errors.Join(err, syncFolder(p.folder))
}

func (p *plan) report(root, issuer *x509.Certificate) *initReport {
	sum := sha256.Sum256(root.Raw)
	return &initReport{
		Created: true, Folder: p.folder, Config: filepath.Join(p.folder, initConfig), Data: p.data,
		Root: filepath.Join(p.folder, initRootCert), RootSHA256: hex.EncodeToString(sum[:]), RootNotAfter: root.NotAfter,
		RootFolder: filepath.Join(p.folder, initRootFolder), Issuer: filepath.Join(p.issuerFolder(), "issuer.pem"),
		IssuerEnd: issuer.NotAfter, Directory: p.publicURL + "/acme/directory",
		rootCN: root.Subject.CommonName, isCN: issuer.Subject.CommonName,
		forATry: p.forATry, http: strings.HasPrefix(p.publicURL, "http:"),
	}
}

func (r *initReport) print(w io.Writer) error {
	if !r.Created {
		_, err := fmt.Fprintf(w, "%s is complete; nothing was changed\n", r.Folder)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `root           %s, to %s
               SHA-256 %s
issuer         %s, to %s
configuration  %s
data           %s

Next:

  1. Move %s to where no computer reads it, and keep it: its key alone can certify
     the issuer's successor. The gateway never reads that folder.
  2. gatehouse check --config %s
  3. gatehouse serve --config %s
  4. Let clients trust %s. On Debian:
     cp %s /usr/local/share/ca-certificates/%s.crt && update-ca-certificates
  5. A certificate, on a machine that answers for its name on port 80:
     %scertbot certonly --standalone --server %s -d NAME
  6. gatehouse cert list --data %s
`, r.rootCN, r.RootNotAfter.Format(time.DateOnly), r.RootSHA256, r.isCN, r.IssuerEnd.Format(time.DateOnly), shellWord(r.Config), shellWord(r.Data),
		shellWord(r.RootFolder), shellWord(r.Config), shellWord(r.Config), shellWord(r.Root), shellWord(r.Root), slugOf(r.rootCN), r.trusting(), r.Directory, shellWord(r.Data))
	if r.forATry {
		b.WriteString("\nThese URLs are for a try on this machine. What other machines shall use is made with --url https://NAME,\nin another folder: the URLs are written into certificates.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// trusting is what makes certbot trust the listener's certificate.
func (r *initReport) trusting() string {
	if r.http {
		return ""
	}
	return "REQUESTS_CA_BUNDLE=" + shellWord(r.Root) + " "
}

// shellWord is a path as it can be typed.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// slugOf is a name as a file's name.
func slugOf(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}
