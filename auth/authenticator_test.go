package auth_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestEveryWayIn and every way out of it again.
func TestEveryWayIn(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ways := d.ways(ref)
	all := func(what string, in bool) {
		t.Helper()
		for name, way := range ways {
			c, err := way()
			if !in {
				isRefused(t, what+": "+name, c, err)
				continue
			}
			if err != nil || c.Principal != ref.ID.String() || c.Org != 1 || c.Operator || len(c.Roles) != 1 || c.Credential == "" {
				t.Errorf("%s: %s: %+v, %v", what, name, c, err)
			}
		}
	}
	all("at first", true)
	all("and again", true)
	edit := func(e auth.PrincipalEdit) { _, err := d.x.Edit(t.Context(), operator, ref, e); must(t, err) }
	edit(auth.PrincipalEdit{Disabled: new(true)})
	all("disabled", false)
	edit(auth.PrincipalEdit{Disabled: new(false), Lifetime: new(time.Minute)})
	all("enabled", true)
	d.now = d.now.Add(time.Minute)
	all("expired", false)
	edit(auth.PrincipalEdit{Lifetime: new(time.Duration(0))})
	all("without an end", true)
}

// TestHomeDisabled: principals of an organisation that does not work are nobody.
func TestHomeDisabled(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	d.add(auth.NewOrg{Slug: "sales", Parent: "main"})
	p := d.person(d.x, "sales", "ada")
	_, s := d.key(auth.Ref{ID: p.ID}, auth.APIKey)
	if _, err := d.a.Key(t.Context(), s.Key, home); err != nil {
		t.Fatal(err)
	}
	d.edit("sales", auth.OrgEdit{Disabled: new(true)})
	c, err := d.a.Key(t.Context(), s.Key, home)
	isRefused(t, "its home is disabled", c, err)
}

// TestWrongCredentials: one answer to whatever is wrong.
func TestWrongCredentials(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ctx := t.Context()
	d.person(d.x, "main", "bare")
	for _, in := range [][3]string{
		{"ada", "main", "wrong horse battery"}, {"ada", "main", ""}, {"ada", "main", strings.Repeat("x", 257)}, {"ada", "main", secretWord + " "},
		{"ada", "lab", secretWord}, {"ada", "none", secretWord}, {"ada", strings.Repeat("x", 70), secretWord}, {"mallory", "main", secretWord}, {"", "main", secretWord},
		{"a/da", "main", secretWord}, {strings.Repeat("a", 5000), "main", secretWord}, {"user:7", "main", secretWord}, {"bare", "main", secretWord},
	} {
		c, err := d.a.Password(ctx, in[0], in[1], in[2], home)
		isRefused(t, fmt.Sprintf("%.20q", in), c, err)
	}
	_, api := d.key(ref, auth.APIKey)
	_, client := d.key(ref, auth.OAuthClient)
	token, _, err := d.a.Token(ctx, client.ClientID, client.ClientSecret, home)
	must(t, err)
	other := func(s string) string { // with another last character
		if strings.HasSuffix(s, "A") {
			return s[:len(s)-1] + "B"
		}
		return s[:len(s)-1] + "A"
	}
	asKey := "ghk_" + strings.TrimPrefix(client.ClientID, "ghc_") + "_" + strings.TrimPrefix(client.ClientSecret, "ghs_")
	for _, key := range []string{"", "ghk_", api.Key[:len(api.Key)-1], api.Key + "A", other(api.Key), strings.ToLower(api.Key), token, asKey, " " + api.Key, strings.Repeat("x", 100_000)} {
		c, err := d.a.Key(ctx, key, home)
		isRefused(t, fmt.Sprintf("the key %.20q", key), c, err)
	}
	for _, text := range []string{"", "ght_", other(token), token[:len(token)-1], strings.Replace(token, "ght_", "ghs_", 1), api.Key, client.ClientSecret} {
		c, err := d.a.Bearer(ctx, text, home)
		isRefused(t, fmt.Sprintf("the token %.20q", text), c, err)
	}
	for _, pair := range [][2]string{{"", ""}, {client.ClientID, ""}, {"", client.ClientSecret}, {client.ClientID, other(client.ClientSecret)}, {other(client.ClientID), client.ClientSecret}} {
		if text, _, err := d.a.Token(ctx, pair[0], pair[1], home); !problem.Is(err, problem.Unauthorized) || text != "" {
			t.Errorf("client %.20q: %q, %v", pair, text, err)
		}
	}
	cert := certificate(t, "one")
	_, _, _, err = d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: cert})
	must(t, err)
	for name, named := range map[string][2]string{"another login": {"eve", "main"}, "another customer": {"ada", "lab"}, "no customer": {"ada", "none"}, "no login": {"a b", ""}} {
		c, err := d.a.Certificate(ctx, cert, named[0], named[1], home)
		isRefused(t, "a certificate and "+name, c, err)
	}
	c, err := d.a.Certificate(ctx, nil, "", "", home)
	isRefused(t, "no certificate", c, err)
	c, err = d.a.Certificate(ctx, certificate(t, "one"), "", "", home)
	isRefused(t, "another certificate of the same name and serial", c, err)
	d.now = d.now.Add(2000 * time.Hour)
	c, err = d.a.Certificate(ctx, cert, "", "", home)
	isRefused(t, "a certificate that has expired", c, err)
	if log := d.log.String(); !strings.Contains(log, ref.ID.String()) || strings.Contains(log, "horse") || strings.Contains(log, api.Key[20:]) || strings.Contains(log, "mallory") {
		t.Errorf("the log says\n%s", log)
	}
}
