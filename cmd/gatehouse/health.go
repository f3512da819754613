package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthCmd asks a gateway whether it is ready, for what restarts or awaits it and has no HTTP client of its own: an image
// without a shell, or a unit that starts after the gateway.
type healthCmd struct {
	URL     string        `name:"url" help:"Health page of the gateway: /readyz, or /healthz to know only that it lives." default:"http://127.0.0.1:80/readyz" env:"GATEHOUSE_HEALTH_URL"`
	Timeout time.Duration `help:"How long it may take to answer." default:"4s"`
}

// maxHealth is more than a health page is long.
const maxHealth = 4096

func (c *healthCmd) Run(ctx context.Context, s streams) error {
	if err := plainURL(c.URL, "http", "https"); err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout: %s leaves no time to answer; write for example 4s", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return err
	}
	// The gateway is asked itself, whatever proxy the environment names, and where it is, not where it sends others.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w; is the gateway running, and is this its http.listen?", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("%s: %w", c.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", c.URL, resp.Status, strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }), ", "))
	}
	_, err = fmt.Fprintln(s.out, "ok")
	return err
}
