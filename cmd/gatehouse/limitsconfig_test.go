package main

import (
	"bytes"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// limitsOf reads the good configuration with limits.
func limitsOf(t *testing.T, words string, log io.Writer) (acme.Limits, error) {
	t.Helper()
	c, err := parseConfig("gatehouse.yaml", []byte(goodConfig+words))
	if err != nil {
		return acme.Limits{}, err
	}
	return c.limits(newLogger(streams{io.Discard, log}, true, 0))
}

func TestLimitsConfig(t *testing.T) {
	t.Parallel()
	want := acme.DefaultLimits()
	want.Organisations = map[string]acme.OrgLimits{}
	if got, err := limitsOf(t, "", io.Discard); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without a word: %+v, %v", got, err)
	}
	var log bytes.Buffer
	got, err := limitsOf(t, `limits:
  help: https://ca.example.com/limits
  except: [192.0.2.7/32, "2001:db8::/48"]
  per_address: {requests: off, new_accounts: 10/h, renewal_info: 5/30s burst 7}
  per_account: {requests: 60/m, new_orders: 300/3h burst 1000, failed_validations: 2/d}
  per_organisation: {new_orders: 1/1d12h}
  per_domain: {new_orders: 4/s}
  organisations:
    main: {per_account: {failed_validations: 100/h}, per_domain: {new_orders: off}}
    later: {per_organisation: {new_orders: 8/h}}
`, &log)
	if err != nil {
		t.Fatal(err)
	}
	want = acme.Limits{
		Help:               "https://ca.example.com/limits",
		Except:             []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/48")},
		AddressNewAccounts: acme.Rate{Count: 10, Per: time.Hour, Burst: 10},
		AddressRenewalInfo: acme.Rate{Count: 5, Per: 30 * time.Second, Burst: 7},
		Default: acme.OrgLimits{
			AccountRequests:   acme.Rate{Count: 60, Per: time.Minute, Burst: 60},
			AccountNewOrders:  acme.Rate{Count: 300, Per: 3 * time.Hour, Burst: 1000},
			FailedValidations: acme.Rate{Count: 2, Per: 24 * time.Hour, Burst: 2},
			NewOrders:         acme.Rate{Count: 1, Per: 36 * time.Hour, Burst: 1},
			DomainNewOrders:   acme.Rate{Count: 4, Per: time.Second, Burst: 4},
		},
	}
	main, later := want.Default, want.Default
	main.FailedValidations, main.DomainNewOrders = acme.Rate{Count: 100, Per: time.Hour, Burst: 100}, acme.Rate{}
	later.NewOrders = acme.Rate{Count: 8, Per: time.Hour, Burst: 8}
	want.Organisations = map[string]acme.OrgLimits{"main": main, "later": later}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if said := log.String(); !strings.Contains(said, `"slug":"later"`) || strings.Contains(said, `"slug":"main"`) {
		t.Errorf("the log says %s", said)
	}
}

func TestLimitsConfigFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct{ words, at, says string }{
		{"limits: {per_adress: {}}\n", "9:10", `"per_adress" is not known here; the words are help, except, per_address, .*`},
		{"limits: {per_address: {request: 1/h}}\n", "9:24", `"request" is not known here; the words are requests, new_accounts, renewal_info`},
		{"limits: {per_address: {requests: 5}}\n", "9:34", `"5" is no limit; write for example 300/h, 300/3h burst 1000, or off`},
		{"limits: {per_account: {new_orders: 1/h burst}}\n", "9:36", `.* is no limit; .*`},
		{"limits: {per_account: {new_orders: [1/h]}}\n", "9:36", `.* is no limit; .*`},
		{"limits: {per_account: {new_orders: 1/h burst 0}}\n", "9:36", `"1/h burst 0": number, time and burst of a limit are at least 1`},
		{"limits: {per_account: {requests: 1/h}}\n", "9:9", `per_account.requests: the burst is at least 2`},
		{"limits: {help: ca.example.com}\n", "9:16", `the page for people is no URL; .*`},
		{"limits: {help: 'https://ca.example.com/>;x'}\n", "9:16", `the page for people is no URL; .*`},
		{"limits: {except: [192.0.2.7]}\n", "9:19", `"192.0.2.7" is no address range; write for example 192.0.2.7/32`},
		{"limits: {except: ['::ffff:192.0.2.7/128']}\n", "9:19", `"::ffff:192.0.2.7/128" is an IPv4 address in IPv6; write it as IPv4, .*`},
		{"limits: {organisations: {main: {per_address: {}}}}\n", "9:33", `"per_address" is not known here; the words are per_account, per_organisation, per_domain`},
	} {
		_, err := limitsOf(t, fault.words, io.Discard)
		if want := regexp.MustCompile(`^gatehouse.yaml:` + fault.at + ": " + fault.says + "$"); err == nil || !want.MatchString(err.Error()) {
			t.Errorf("%s%v, want %s", fault.words, err, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "1", "/h", "1/", "1/x", "h/1", "-1/h", "0/h", "1/h burst", "1/h burst x", "1/h burst -1", "1/h bust 2", "1/h burst 1 2", "Off", "off off",
		"1/0s", "0/0s burst 0", "1/h/h", "1.5/h", "99999999999999999999/h", "1/400d", "2000000/s", "1/h burst 9999999",
	} {
		if r, err := parseRate(text); err == nil {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
	for _, text := range []string{"300/1h", "300/3h burst 1000", "1/1m", "off"} {
		if r, err := parseRate(text); err != nil || r.String() != text {
			t.Errorf("%q comes back as %q, %v", text, r, err)
		}
	}
}

func TestRefusalsByLimit(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	count, err := refusalsByLimit(registry)
	if err != nil {
		t.Fatal(err)
	}
	count(acme.LimitAddressRequests)
	count(acme.LimitAddressRequests)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(families, err)
	}
	if m := families[0].Metric[0]; families[0].GetName() != "gatehouse_acme_rate_limited_total" || m.Counter.GetValue() != 2 || m.Label[0].GetValue() != "per_address.requests" {
		t.Errorf("%v", families[0])
	}
	if _, err := refusalsByLimit(registry); err == nil {
		t.Error("registered twice")
	}
}
