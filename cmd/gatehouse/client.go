package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// adminFlags are shared by the commands that talk to the running gateway.
type adminFlags struct {
	Data string `help:"Data folder of the running gateway." default:"/var/lib/gatehouse" env:"GATEHOUSE_DATA" type:"path"`
	JSON bool   `help:"Print JSON."`
}

// call sends one request over the admin socket and decodes the answer into out.
func (f *adminFlags) call(ctx context.Context, method, path string, in, out any) error {
	socket := filepath.Join(f.Data, adminSocket)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to open %s; run this as the gateway's user or as root", socket)
	case errors.Is(err, os.ErrNotExist) || isRefused(err):
		return fmt.Errorf("no gateway listens at %s; start one (gatehouse serve) or name its data folder with --data", socket)
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e adminError
		if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e) != nil || e.Detail == "" {
			return fmt.Errorf("the gateway answered %s", resp.Status)
		}
		return errors.New(e.Detail)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// writeJSON prints a value for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
