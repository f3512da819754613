package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestTestSwitchesRefuseAConfiguration: no flag that weakens a throw-away gateway can be given to one with a configuration file.
func TestTestSwitchesRefuseAConfiguration(t *testing.T) {
	t.Parallel()
	flags := reflect.TypeFor[devFlags]()
	for field := range flags.Fields() {
		name := field.Tag.Get("name")
		if name == "" {
			var b strings.Builder
			for i, r := range field.Name {
				if i > 0 && r >= 'A' && r <= 'Z' && !(field.Name[i-1] >= 'A' && field.Name[i-1] <= 'Z') {
					b.WriteByte('-')
				}
				b.WriteRune(r)
			}
			name = strings.ReplaceAll(strings.ToLower(b.String()), "httplisten", "http-listen")
		}
		value := "=1"
		switch {
		case field.Type.Kind() == reflect.Bool:
			value = ""
		case field.Type == reflect.TypeFor[time.Duration]():
			value = "=1s"
		}
		_, stderr, status := (&world{t: t}).command("serve", "--config", "absent.yaml", "--"+name+value)
		if status == 0 || !strings.Contains(stderr, "go with --dev") {
			t.Errorf("--%s with a configuration: status %d, %s", name, status, stderr)
		}
	}
}
