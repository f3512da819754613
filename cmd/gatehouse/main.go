// Command gatehouse is the certificate authority gateway: the server and the operator's commands.
//
// It decides how a configuration file becomes running parts, and in which order they start and stop. It trusts the file
// and the machine's operator: whoever may open the admin socket may see and revoke everything. It holds no rule about
// certificates itself; every command goes through the same methods as the doors.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line. Kong prints the help texts.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the gateway."`
	Demo    demoCmd    `cmd:"" help:"Watch a throw-away gateway issue, revoke and publish, in one command."`
	Lab     labCmd     `cmd:"" help:"Meet every validation method's troubles offline: a throw-away gateway among hosts that misbehave."`
	Init    initCmd    `cmd:"" help:"Make a certificate authority and a configuration, in a new folder."`
	Check   checkCmd   `cmd:"" help:"Check the configuration, the store, the issuers and the resolvers without serving."`
	Health  healthCmd  `cmd:"" help:"Ask a running gateway whether it is ready."`
	Cert    certCmd    `cmd:"" help:"List, show, export, import, revoke and replace certificates of the running gateway."`
	Request requestCmd `cmd:"" help:"Ask for certificates; list, show, approve and decline requests that people decide."`
	Org     orgCmd     `cmd:"" help:"Make, list and change organisations of the running gateway."`
	User    userCmd    `cmd:"" help:"Make, list and change principals: people and programs with roles."`
	Key     keyCmd     `cmd:"" help:"Make, list, rotate and revoke credentials of principals."`
	Authz   authzCmd   `cmd:"" help:"Show what validations of ACME clients saw, and why they failed."`
	EAB     eabCmd     `cmd:"" name:"eab" help:"Make, list and revoke keys for external account binding."`
	Profile profileCmd `cmd:"" help:"Show what may be issued, and say for a CSR what each rule makes of it."`
	Domain  domainCmd  `cmd:"" help:"Give domains to organisations, validate and delegate them."`
	Mail    mailCmd    `cmd:"" help:"Look after mails that were not delivered yet."`
	Seal    sealCmd    `cmd:"" help:"Look after the keys that secrets in the store are sealed with."`
	Audit   auditCmd   `cmd:"" help:"Verify the audit journal."`
	Bench   benchCmd   `cmd:"" help:"Measure issuances beside a stateless floor, and lists in a large store."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// streams is what commands read and write; tests replace it.
type streams struct {
	out, err io.Writer
}

func main() {
	// A library of the lints lowers, for the whole process, the RSA size below which crypto/rsa refuses to work.
	os.Setenv("GODEBUG", strings.ReplaceAll(os.Getenv("GODEBUG"), "rsa1024min=0", "rsa1024min=1"))

	// SIGINT and SIGTERM ask for an orderly end; a second one ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }()
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

// run is main without the process: it returns the exit status, 0 if all went well, 1 with a line on err for each thing that is wrong otherwise.
func run(ctx context.Context, args []string, s streams) int {
	var c cli
	exited := false
	parser, err := kong.New(&c, kong.Name("gatehouse"), kong.Description("A certificate authority gateway."),
		kong.Writers(s.out, s.err), kong.UsageOnError(), kong.Exit(func(int) { exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))
	if err != nil {
		fmt.Fprintln(s.err, "gatehouse:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := parser.Parse(args)
	if exited {
		return 0 // help was asked for and printed
	}
	if err != nil {
		fmt.Fprintf(s.err, "gatehouse: %v (gatehouse --help lists the commands)\n", err)
		return 1
	}
	err = cmd.Run()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return 1
	default:
		for line := range strings.Lines(err.Error()) { // joined errors are a line each
			fmt.Fprintln(s.err, "gatehouse:", strings.TrimSuffix(line, "\n"))
		}
		return 1
	}
}

// errReported is returned by a command that has said what is wrong in its own output.
var errReported = errors.New("reported")

// versionCmd prints what was built.
type versionCmd struct {
	JSON bool `help:"Print as JSON."`
}

func (c *versionCmd) Run(s streams) error {
	v := version()
	if c.JSON {
		return writeJSON(s.out, map[string]string{"version": v})
	}
	_, err := fmt.Fprintln(s.out, "gatehouse", v)
	return err
}

// version is the module's version, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
				v += "-" + setting.Value[:12]
			}
		}
	}
	return v
}
