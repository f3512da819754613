package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatehouse-ca/gatehouse/bundle"
)

// certKeyCmd holds the commands about private keys that are kept here (docs/keys.md).
type certKeyCmd struct {
	Show    certKeyShowCmd    `cmd:"" help:"Say what is kept of an enrollment's private key. Nothing secret is shown."`
	Link    certKeyLinkCmd    `cmd:"" help:"Make a link by which the key can be downloaded, once."`
	Upload  certKeyUploadCmd  `cmd:"" help:"Keep the private key of a certificate that was issued for a CSR."`
	Destroy certKeyDestroyCmd `cmd:"" help:"Destroy a private key. The certificate stays as it is."`
}

// storedKeyPath is the admin socket's path of an enrollment's key.
func storedKeyPath(id int64) string { return fmt.Sprintf("/enrollments/%d/key", id) }

type certKeyShowCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *certKeyShowCmd) Run(ctx context.Context, s streams) error {
	var k storedKeyView
	if err := c.call(ctx, "GET", storedKeyPath(c.ID), nil, &k); err != nil {
		return err
	}
	return c.printKey(s, k)
}

func (f *adminFlags) printKey(s streams, k storedKeyView) error {
	if f.JSON {
		return writeJSON(s.out, k)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "enrollment\t%d\nkey\t%s, %s\nby\t%s\nsince\t%s UTC\npublic key\t%s (SHA-256)\n", k.Enrollment, k.Type, k.Origin, k.By, day(k.Stored), k.Public)
	return w.Flush()
}

type certKeyLinkCmd struct {
	adminFlags
	Format  string `help:"pkcs12, jks, pem-encrypted-key or encrypted-key; with --clear pem-key or key." default:"pkcs12"`
	Content string `help:"leaf or chain (the default): what goes with the key, where the format holds certificates." placeholder:"WORD"`
	Clear   bool   `help:"The key may be in clear."`
	ID      int64  `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *certKeyLinkCmd) Run(ctx context.Context, s streams) error {
	var l keyLinkView
	if err := c.call(ctx, "POST", storedKeyPath(c.ID)+"/link", keyOffer{Format: c.Format, Content: c.Content, Clear: c.Clear}, &l); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, l)
	}
	_, err := fmt.Fprintf(s.out, "%s\nserves once, as %s, until %s UTC; give it to nobody but who is to have the key\n", l.Link, l.Format, l.Expires.UTC().Format(time.DateTime))
	return err
}

type certKeyUploadCmd struct {
	adminFlags
	PasswordFile string `help:"File with the password of an encrypted key, in its first line." type:"existingfile" placeholder:"FILE"`
	ID           int64  `arg:"" name:"id" help:"The enrollment's number."`
	File         string `arg:"" help:"The private key: PKCS #8, PKCS #1 or SEC 1 in PEM or DER; - reads it from the standard input."`
}

func (c *certKeyUploadCmd) Run(ctx context.Context, s streams) error {
	var in keyUpload
	var err error
	if in.Key, err = readSmall(c.File, bundle.MaxKey); err != nil {
		return err
	}
	if c.PasswordFile != "" {
		text, err := readSmall(c.PasswordFile, bundle.MaxKey)
		if err != nil {
			return err
		}
		in.Password, _, _ = strings.Cut(string(text), "\n")
		in.Password = strings.TrimSuffix(in.Password, "\r")
	}
	var k storedKeyView
	if err := c.call(ctx, "POST", storedKeyPath(c.ID), in, &k); err != nil {
		return err
	}
	return c.printKey(s, k)
}

// readSmall reads a file, or the standard input for "-", of at most so many octets.
func readSmall(path string, limit int64) ([]byte, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d octets; is it the right file?", path, limit)
	}
	return data, err
}

type certKeyDestroyCmd struct {
	adminFlags
	Yes bool  `help:"Do it. Without this nothing is destroyed."`
	ID  int64 `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *certKeyDestroyCmd) Run(ctx context.Context, s streams) error {
	if !c.Yes {
		return errors.New("a private key that is destroyed cannot be had back; say --yes to destroy it")
	}
	var done map[string]time.Time
	if err := c.call(ctx, "POST", storedKeyPath(c.ID)+"/destroy", nil, &done); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, done)
	}
	_, err := fmt.Fprintf(s.out, "the private key of enrollment %d was destroyed at %s UTC\n", c.ID, done["destroyed"].UTC().Format(time.DateTime))
	return err
}
