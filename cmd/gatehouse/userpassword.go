package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

type userPasswordCmd struct {
	adminFlags
	userArg
	File     string `help:"Read it from this file. Default: standard input." placeholder:"FILE" xor:"from" type:"path"`
	Generate bool   `help:"Make one of 130 random bits and print it, this once." xor:"from"`
	Remove   bool   `help:"Take the password away." xor:"from"`
}

func (c *userPasswordCmd) Run(ctx context.Context, s streams) error {
	in := userPassword{Generate: c.Generate, Remove: c.Remove}
	if !c.Generate && !c.Remove {
		var err error
		if in.Password, err = c.read(s); err != nil {
			return err
		}
	}
	var v userView
	if err := c.call(ctx, "POST", c.path("/password"), in, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	var err error
	switch {
	case c.Generate:
		_, err = fmt.Fprintf(s.out, "password  %s\n\nIt is not shown again.\n", v.Password)
	case c.Remove:
		_, err = fmt.Fprintf(s.out, "%s has no password\n", v.Login)
	default:
		_, err = fmt.Fprintf(s.out, "%s has a new password\n", v.Login)
	}
	return err
}

// maxPasswordFile bounds what is read for a password, in octets.
const maxPasswordFile = 4096

// read takes the password from the file or standard input: one line, whose end does not belong to it. It is never an
// argument, which other users of the machine could see.
func (c *userPasswordCmd) read(s streams) (string, error) {
	from := os.Stdin
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		defer f.Close()
		from = f
	} else if restore, ok := hideInput(from); ok {
		fmt.Fprint(s.err, "password: ")
		defer fmt.Fprintln(s.err)
		defer restore()
		return readLine(from)
	}
	text, err := io.ReadAll(io.LimitReader(from, maxPasswordFile+1))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return checkLineEnd(string(text))
}

// checkLineEnd takes the end of the line away from a password.
func checkLineEnd(text string) (string, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case len(text) > maxPasswordFile:
		return "", fmt.Errorf("the password is longer than %d octets; is it the right file?", maxPasswordFile)
	case line == "":
		return "", errors.New("the password is empty; write it to standard input or a file (--file), or let one be made (--generate)")
	}
	return line, nil
}

// readLine reads a line that somebody types.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) <= maxPasswordFile; {
		if _, err := r.Read(b); err != nil || b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return checkLineEnd(string(line))
}

// hideInput stops a terminal from showing what is typed; ok is false for what is no terminal.
func hideInput(f *os.File) (restore func(), ok bool) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, false
	}
	hidden := *old
	hidden.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(fd, unix.TCSETS, &hidden) != nil {
		return nil, false
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, old) }, true
}
