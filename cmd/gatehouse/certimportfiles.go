package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// maxImportFile is the largest file that is read. Ten thousand certificates in PEM are 20 MB.
const maxImportFile = 64 << 20

// certificateFiles are the endings of names that --dir looks at.
var certificateFiles = []string{".pem", ".crt", ".cer", ".cert", ".der", ".p7b", ".p7c"}

// certFiles is what the files hold: certificates to be imported, and those of authorities that they may come with.
type certFiles struct {
	items       []certFile
	authorities []*x509.Certificate
	bySubject   map[string][]int // places in authorities
	failed      []certImportResult
}

// certFile is one certificate of a file. cert is nil if it cannot be parsed: then the gateway says why.
type certFile struct {
	file string
	der  []byte
	cert *x509.Certificate
}

// gatherCertificates reads files, each of which must hold certificates, and folders, in which other files are passed over.
func gatherCertificates(files, folders []string) (*certFiles, error) {
	g := &certFiles{bySubject: map[string][]int{}}
	for _, file := range files {
		g.read(file, true)
	}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			// A link to a file counts, because programs that renew certificates keep them so; one to a folder might lead round.
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || !slices.Contains(certificateFiles, strings.ToLower(filepath.Ext(path))) {
				return nil
			}
			g.read(path, false)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading --dir %s: %w", folder, err)
		}
	}
	switch {
	case len(g.items)+len(g.failed) > 0:
	case len(g.authorities) > 0:
		return nil, errors.New("the files hold certificates of authorities alone; import those of servers")
	default:
		return nil, fmt.Errorf("no certificate was found; files of --dir must end in one of %s", strings.Join(certificateFiles, ", "))
	}
	return g, nil
}

// read sorts the certificates of one file. A file that was named and holds none is a failure.
func (g *certFiles) read(file string, named bool) {
	ders, lost, err := readCertificates(file)
	if lost > 0 {
		g.failed = append(g.failed, certImportResult{File: file, Error: fmt.Sprintf("%d of its PEM blocks cannot be decoded; have those certificates written anew", lost)})
	}
	if err != nil {
		if lost == 0 && (named || !problem.Is(err, problem.Malformed)) {
			g.failed = append(g.failed, certImportResult{File: file, Error: reason(err)})
		}
		return
	}
	var items []certFile
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err == nil && cert.IsCA && len(cert.DNSNames)+len(cert.IPAddresses) == 0 {
			g.addAuthority(cert)
			continue
		}
		items = append(items, certFile{file: file, der: der, cert: cert})
	}
	for i := range items {
		if len(items) > 1 {
			items[i].file = fmt.Sprintf("%s #%d", file, i+1)
		}
	}
	g.items = append(g.items, items...)
}

func readCertificates(file string) (ders [][]byte, lost int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxImportFile+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxImportFile {
		return nil, 0, fmt.Errorf("it has more than %d MiB; divide it", maxImportFile>>20)
	}
	ders, err = bundle.Read(data)
	return ders, undecoded(data), err
}

// undecoded counts the PEM blocks of certificates that begin and cannot be decoded. Programs pass over such as text, and who imports
// them would be told that all went well.
func undecoded(data []byte) int {
	const begin, certificate = "-----BEGIN ", "CERTIFICATE-----"
	n := 0
	for line := range bytes.Lines(data) {
		if line = bytes.TrimRight(line, " \t\r\n"); bytes.HasPrefix(line, []byte(begin)) && bytes.HasSuffix(line, []byte(certificate)) {
			n++
		}
	}
	for block, rest := pem.Decode(data); block != nil && n > 0; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type+"-----", certificate) && len(block.Bytes) > 0 {
			n--
		}
	}
	return n
}

// reason is an error without the file's name, which stands before it.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p.Detail
	}
	return err.Error()
}

func (g *certFiles) addAuthority(cert *x509.Certificate) {
	subject := string(cert.RawSubject)
	for _, n := range g.bySubject[subject] {
		if bytes.Equal(g.authorities[n].Raw, cert.Raw) {
			return
		}
	}
	g.bySubject[subject] = append(g.bySubject[subject], len(g.authorities))
	g.authorities = append(g.authorities, cert)
}

// issuers are the places of what may lead from a certificate upwards, nearest first, by names. The gateway verifies them.
func (g *certFiles) issuers(cert *x509.Certificate) (places []int) {
	if cert == nil {
		return nil
	}
	for at := 0; ; at++ {
		for _, n := range g.bySubject[string(cert.RawIssuer)] {
			if !slices.Contains(places, n) && len(places) < ra.MaxImportedIssuers {
				places = append(places, n)
			}
		}
		if at == len(places) {
			return places
		}
		cert = g.authorities[places[at]]
	}
}
