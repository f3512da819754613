package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// image is what a container takes from its image.
type image struct {
	entrypoint, command []string
	user                string
	env                 []string
	volumes             []string
	health              []string          // the health check's command
	owned               map[string]string // folders, and whose they are: "uid:gid"
	program             string            // where the program is that was built; "" for other images
	stopSignal          string            // default SIGTERM
}

// instruction is a line of a Dockerfile, continued lines joined.
type instruction struct{ word, rest string }

// dockerfile is one that is read, stage by stage.
type dockerfile struct{ stages [][]instruction }

func readDockerfile(t testing.TB) *dockerfile {
	t.Helper()
	d := &dockerfile{}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(readFile(t, "Dockerfile"), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == "FROM" {
			d.stages = append(d.stages, nil)
		}
		last := len(d.stages) - 1
		if last < 0 {
			t.Fatalf("%q stands before FROM", line)
		}
		d.stages[last] = append(d.stages[last], instruction{word, strings.TrimSpace(rest)})
	}
	if len(d.stages) == 0 {
		t.Fatal("the Dockerfile has no stage")
	}
	return d
}

// image is what the last stage makes.
func (d *dockerfile) image() (*image, error) {
	i := &image{owned: map[string]string{}}
	for _, in := range d.stages[len(d.stages)-1] {
		var err error
		switch in.word {
		case "FROM", "LABEL", "EXPOSE":
		case "COPY":
			i.copied(in.rest)
		case "USER":
			i.user = in.rest
		case "ENV":
			i.env = append(i.env, strings.Fields(in.rest)...)
		case "VOLUME":
			i.volumes = append(i.volumes, strings.Fields(in.rest)...)
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(in.rest), &i.entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(in.rest), &i.command)
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(in.rest, "CMD ")
			err = json.Unmarshal([]byte(command), &i.health)
		default:
			err = errors.New("these tests do not know it")
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", in.word, in.rest, err)
		}
	}
	return i, nil
}

// copied notes the program, and folders that somebody owns.
func (i *image) copied(rest string) {
	words := strings.Fields(rest)
	source, target := words[len(words)-2], words[len(words)-1]
	if path.Base(source) == "gatehouse" {
		i.program = target
		return
	}
	for _, w := range words {
		if owner, ok := strings.CutPrefix(w, "--chown="); ok {
			i.owned[target] = owner
		}
	}
}

// buildLine is the command that makes the program.
func (d *dockerfile) buildLine(t testing.TB) string {
	t.Helper()
	for _, in := range d.stages[0] {
		if in.word == "RUN" && strings.Contains(in.rest, "go build ") {
			return in.rest
		}
	}
	t.Fatal("no stage runs go build")
	return ""
}

// built is the program, made once for all tests by the Dockerfile's very line, but for the place of its output. TestMain
// removes it.
var built = struct {
	sync.Mutex
	folder, path string
}{}

func gatehouse(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.path != "" {
		return built.path
	}
	folder, err := os.MkdirTemp("", "gatehouse-deploy-")
	must(t, err)
	built.folder = folder
	target := filepath.Join(folder, "gatehouse")
	line, said := readDockerfile(t).buildLine(t), " -o /out/gatehouse "
	if !strings.Contains(line, said) {
		t.Fatalf("the build line does not say%s: %s", said, line)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, said, " -o "+target+" ", 1))
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	built.path = target
	return target
}

// TestDockerfile holds the image to what it promises.
func TestDockerfile(t *testing.T) {
	d := readDockerfile(t)
	for _, stage := range d.stages {
		from := strings.Fields(stage[0].rest)[0]
		if from != "scratch" && !regexp.MustCompile(`:\d+\.\d+(\.\d+)?`).MatchString(from) {
			t.Errorf("FROM %s is not pinned to a version", from)
		}
	}
	i, err := d.image()
	must(t, err)
	uid, gid, _ := strings.Cut(i.user, ":")
	if !regexp.MustCompile(`^[1-9]\d+$`).MatchString(uid) || !regexp.MustCompile(`^[1-9]\d+$`).MatchString(gid) {
		t.Errorf("USER is %q; want numbers, and not root's", i.user)
	}
	if i.program == "" || !slices.Equal(i.entrypoint, []string{i.program}) {
		t.Errorf("ENTRYPOINT is %q, and the program is copied to %q", i.entrypoint, i.program)
	}
	if len(i.health) == 0 || i.health[0] != i.program {
		t.Errorf("the health check runs %q, which is not in the image", i.health)
	}
	if len(i.volumes) == 0 {
		t.Error("no VOLUME keeps the journal")
	}
	for _, v := range i.volumes {
		if i.owned[v] != i.user {
			t.Errorf("VOLUME %s belongs to %q, and the program runs as %s", v, i.owned[v], i.user)
		}
		if !slices.Contains(i.env, "GATEHOUSE_DATA="+v) {
			t.Errorf("the commands would look for the gateway elsewhere than in %s: %q", v, i.env)
		}
	}
	mod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if from := strings.Fields(d.stages[0][0].rest)[0]; mod == nil || !strings.HasPrefix(from, "golang:"+mod[1]+".") {
		t.Errorf("it builds with %s, and go.mod says %v", from, mod)
	}
}

// TestDockerignore: what the build line needs is sent along, and no key is.
func TestDockerignore(t *testing.T) {
	ignored := strings.Fields(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(readFile(t, ".dockerignore"), ""))
	for _, want := range []string{"*.key", ".env"} {
		if !slices.Contains(ignored, want) {
			t.Errorf(".dockerignore lacks %s", want)
		}
	}
	for _, needed := range []string{".git", "go.mod", "go.sum", "cmd"} {
		if slices.Contains(ignored, needed) || slices.Contains(ignored, "/"+needed+"/") {
			t.Errorf(".dockerignore leaves %s out", needed)
		}
	}
}

// TestDockerBuild runs the build line and what it built.
func TestDockerBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	program := gatehouse(t)
	if out := output(t, program, "version"); !strings.HasPrefix(out, "gatehouse ") {
		t.Errorf("gatehouse version prints %q", out)
	}
	i, err := readDockerfile(t).image()
	must(t, err)
	for _, args := range [][]string{i.command, i.health[1:]} {
		out, err := exec.CommandContext(t.Context(), program, append(slices.Clone(args), "--help")...).CombinedOutput()
		if err != nil {
			t.Errorf("gatehouse %s is no command: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := static(program); err != nil {
		t.Error(err)
	}
}
