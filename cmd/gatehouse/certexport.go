package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/bundle"
)

// contents are the words for what of a chain is written.
var contents = map[string]bundle.Content{"leaf": bundle.Leaf, "full": bundle.FullChain, "issuers": bundle.Issuers}

type certExportCmd struct {
	adminFlags
	Issuer  string `help:"Issuer, where two have used one serial number."`
	Format  string `help:"pem, der, base64, pkcs7 or pkcs7-pem." enum:"pem,der,base64,pkcs7,pkcs7-pem" default:"pem"`
	Content string `help:"leaf, full (the leaf and its issuers) or issuers. Default: full; leaf in formats that hold one certificate." enum:"leaf,full,issuers," default:""`
	Out     string `help:"A file to write to, which must not exist. Default: standard output." type:"path" placeholder:"FILE"`
	Which   string `arg:"" help:"Enrollment number, or the certificate's serial in hex."`
}

func (c *certExportCmd) Run(ctx context.Context, s streams) error {
	if c.JSON {
		return errors.New("cert export writes a certificate and goes without --json; gatehouse cert show --json has it in PEM")
	}
	format, err := bundle.ParseFormat(c.Format)
	if err != nil {
		return err
	}
	var e enrollmentView
	if err := c.call(ctx, "GET", which(c.Which, c.Issuer), nil, &e); err != nil {
		return err
	}
	if e.PEM == "" {
		return fmt.Errorf("enrollment %d has no certificate; it is %s", e.ID, e.Status)
	}
	data, err := c.encode(e, format)
	if err != nil {
		return err
	}
	return c.write(s, format, data)
}

func (c *certExportCmd) encode(e enrollmentView, format bundle.Format) ([]byte, error) {
	word := c.Content
	switch {
	case word != "":
	case format == bundle.DER || format == bundle.Base64:
		word = "leaf"
	default:
		word = "full"
	}
	leaf, err := bundle.Read([]byte(e.PEM))
	if err != nil {
		return nil, err
	}
	var issuers [][]byte
	if e.Chain != "" {
		if issuers, err = bundle.Read([]byte(e.Chain)); err != nil {
			return nil, err
		}
	}
	chain, err := bundle.NewChain(leaf[0], issuers)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	if cert, err := x509.ParseCertificate(leaf[0]); err == nil && word == "full" && len(issuers) == 0 && !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return nil, fmt.Errorf("the gateway has no issuer's certificate for enrollment %d; ask for --content leaf", e.ID)
	}
	// A root is nothing that a server sends (RFC 8446, 4.4.2), unless it is all there is.
	data, err := chain.Encode(format, bundle.Options{Content: contents[word], OmitRoot: len(issuers) > 1})
	if err != nil {
		return nil, errors.New(reason(err))
	}
	return data, nil
}

// write refuses to write over anything, and octets that are no text to a terminal.
func (c *certExportCmd) write(s streams, format bundle.Format, data []byte) error {
	if c.Out == "" {
		if f, ok := s.out.(*os.File); ok && isTerminal(f) && (format == bundle.DER || format == bundle.PKCS7) {
			return fmt.Errorf("%s is no text for a terminal; name a file with --out, or another format", format)
		}
		_, err := s.out.Write(data)
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is not written over; remove it or name another file", c.Out)
	} else if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(c.Out) // what was written of it is no certificate
		return err
	}
	_, err = fmt.Fprintf(s.err, "%s: %s\n", c.Out, format)
	return err
}

// isTerminal reports whether a person reads what is written to a file.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
