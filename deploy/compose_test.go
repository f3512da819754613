package deploy

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// compose is docker-compose.yml. A word that is not here is an error: these tests would not know what it changes.
type compose struct {
	Gateway  service              `yaml:"x-gateway"`
	Services map[string]*service  `yaml:"services"`
	Networks map[string]netConfig `yaml:"networks"`
	Volumes  map[string]struct{}  `yaml:"volumes"`
}

type netConfig struct {
	Internal bool `yaml:"internal"`
}

// service is one of the file's. The container that these tests make honours each word, but for those that say so.
type service struct {
	Build       string                `yaml:"build"`
	Image       string                `yaml:"image"`
	Entrypoint  []string              `yaml:"entrypoint"`
	Command     []string              `yaml:"command"`
	User        string                `yaml:"user"`
	Environment map[string]string     `yaml:"environment"`
	DependsOn   map[string]dependency `yaml:"depends_on"`
	Healthcheck *healthcheck          `yaml:"healthcheck"`
	Networks    memberships           `yaml:"networks"`
	NetworkMode string                `yaml:"network_mode"`
	Ports       []string              `yaml:"ports"` // not honoured: nobody outside asks
	Volumes     []string              `yaml:"volumes"`
	Sysctls     map[string]string     `yaml:"sysctls"`
	ReadOnly    bool                  `yaml:"read_only"`
	CapDrop     []string              `yaml:"cap_drop"`
	CapAdd      []string              `yaml:"cap_add"`
	SecurityOpt []string              `yaml:"security_opt"`
	Restart     string                `yaml:"restart"` // not honoured: what ends by itself fails the test
	StopGrace   string                `yaml:"stop_grace_period"`
}

type dependency struct {
	Condition string `yaml:"condition"`
}

// healthcheck is asked more often here than its interval says, and as often as its retries.
type healthcheck struct {
	Test     []string `yaml:"test"`
	Interval string   `yaml:"interval"`
	Timeout  string   `yaml:"timeout"`
	Retries  int      `yaml:"retries"`
}

// memberships are a service's networks, with its further names in each.
type memberships map[string][]string

// UnmarshalYAML reads a list of networks, or a map that also has aliases.
func (m *memberships) UnmarshalYAML(text []byte) error {
	*m = memberships{}
	var list []string
	if yaml.Unmarshal(text, &list) == nil {
		for _, name := range list {
			(*m)[name] = nil
		}
		return nil
	}
	var full map[string]struct {
		Aliases []string `yaml:"aliases"`
	}
	if err := yaml.UnmarshalWithOptions(text, &full, yaml.Strict()); err != nil {
		return err
	}
	for name, n := range full {
		(*m)[name] = n.Aliases
	}
	return nil
}

// readCompose reads the file as an engine does where the environment sets nothing.
func readCompose(t testing.TB) *compose {
	t.Helper()
	text := regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(readFile(t, "docker-compose.yml"), "$1")
	if strings.Contains(text, "$") {
		t.Fatal("docker-compose.yml holds a variable without a default, which these tests cannot fill in")
	}
	c := &compose{}
	if err := yaml.UnmarshalWithOptions([]byte(text), c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestComposeConfig has Debian's docker-compose read the file, and compares what it understood with what these tests do.
func TestComposeConfig(t *testing.T) {
	testneed.Programs(t, "docker-compose")
	file, err := filepath.Abs(filepath.Join(repository, "docker-compose.yml"))
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "docker-compose", "--project-name", "gatehouse", "--file", file, "config")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker-compose config: %v\n%s", err, errorOutput(err))
	}
	var theirs struct {
		Services map[string]struct {
			Image   string   `yaml:"image"`
			Command []string `yaml:"command"`
			Volumes []string `yaml:"volumes"`
		} `yaml:"services"`
	}
	must(t, yaml.Unmarshal(out, &theirs))
	ours := readCompose(t)
	if a, b := slices.Sorted(maps.Keys(theirs.Services)), slices.Sorted(maps.Keys(ours.Services)); !slices.Equal(a, b) {
		t.Fatalf("docker-compose finds the services %v, these tests %v", a, b)
	}
	for name, s := range ours.Services {
		got := theirs.Services[name]
		if got.Image != s.Image || !slices.Equal(got.Command, s.Command) || len(got.Volumes) != len(s.Volumes) {
			t.Errorf("docker-compose understands %s as %+v, these tests as %+v", name, got, s)
		}
	}
}

func errorOutput(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}

// TestComposePromises holds the file to what the design says of it.
func TestComposePromises(t *testing.T) {
	c := readCompose(t)
	journals := map[string]string{} // by volume
	for name, s := range c.Services {
		if s.Build == "" && !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(s.Image) {
			t.Errorf("%s: the image %s is not pinned to a version", name, s.Image)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", name)
		}
		for other, d := range s.DependsOn {
			if c.Services[other] == nil || d.Condition == "" {
				t.Errorf("%s depends on %s, %q", name, other, d.Condition)
			}
		}
		for _, v := range s.Volumes {
			source, target, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[source]; !named && !strings.HasPrefix(source, "./deploy/") {
				t.Errorf("%s: volume %s is not declared", name, source)
			}
			if strings.HasPrefix(target, "/var/lib/gatehouse") {
				if other := journals[source]; other != "" {
					t.Errorf("%s and %s share the data folder %s", name, other, source)
				}
				journals[source] = name
			}
		}
	}
	if len(journals) != 2 {
		t.Errorf("the data folders are %v, want one for each of two gateways", journals)
	}
	for network := range c.Services["redis"].Networks {
		if !c.Networks[network].Internal || len(c.Services["redis"].Ports) > 0 {
			t.Errorf("Redis asks for no password and is reached through %s", network)
		}
	}
	for _, name := range []string{"balancer", "certbot"} {
		if _, reaches := c.Services[name].Networks["store"]; reaches {
			t.Errorf("%s reaches Redis", name)
		}
	}
	for _, name := range journals {
		s := c.Services[name]
		if grace, want := duration(t, s.StopGrace), drain(t); grace < want {
			t.Errorf("%s is killed after %s, and draining may take %s", name, grace, want)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: read_only %v, cap_drop %v", name, s.ReadOnly, s.CapDrop)
		}
	}
	if got := fmt.Sprint(c.Services["gateway1"].Command, c.Services["gateway1"].DependsOn); got != fmt.Sprint(c.Services["gateway2"].Command, c.Services["gateway2"].DependsOn) {
		t.Errorf("the gateways differ: %s", got)
	}
}

// TestRedisConfig: the file says what a gateway demands.
func TestRedisConfig(t *testing.T) {
	text := readFile(t, "deploy/redis.conf")
	for _, line := range []string{"appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "no-appendfsync-on-rewrite no"} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(text) {
			t.Errorf("redis.conf lacks %q", line)
		}
	}
}

// TestBalancerConfig has HAProxy read its configuration.
func TestBalancerConfig(t *testing.T) {
	testneed.Programs(t, "haproxy")
	file, err := filepath.Abs(filepath.Join(repository, "deploy", "haproxy.cfg"))
	must(t, err)
	out := output(t, "haproxy", "-c", "-f", file)
	if !strings.Contains(out, "Configuration file is valid") {
		t.Errorf("haproxy -c says\n%s", out)
	}
	// The names of the gateways are known in the compose file's network alone; nothing else may be wrong.
	for line := range strings.Lines(out) {
		if strings.Contains(line, "[WARNING]") && !strings.Contains(line, "could not resolve address 'gateway") {
			t.Error(line)
		}
	}
}

// duration reads one as the file writes it.
func duration(t testing.TB, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}
