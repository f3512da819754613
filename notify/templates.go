package notify

import "text/template"

// templates are the texts: of each kind the body, and its subject under the kind's name and " subject". Words that a mail lacks are
// empty; [needed] names those that it must have.
var templates = template.Must(template.New("").Option("missingkey=zero").Parse(texts))

// needed are the words without which a mail of a kind is not sent.
var needed = map[string][]string{
	"domain-validation": {"domain", "organisation", "link", "until", "secret"},
}

const texts = `
{{define "domain-validation subject"}}Confirm the use of {{.domain}}{{end}}
{{define "domain-validation"}}
{{.organisation}} asks for certificates for

    {{.domain}}

If you agree, open this page and press the button on it. Opening it alone
confirms nothing.

    {{.link}}{{.secret}}

The page is good until {{.until}}.

If you do not know who asked, or do not agree, do nothing: without you the
name is not confirmed. A second button on the page refuses the request.
Do not pass this mail on: whoever has the link can answer in your place.
{{end}}

{{define "facts"}}
{{- with .names}}names:        {{.}}
{{end}}
{{- with .profile}}profile:      {{.}}
{{end}}
{{- with .organisation}}organisation: {{.}}
{{end}}
{{- with .requester}}requested by: {{.}}
{{end}}
{{- with .serial}}serial:       {{.}}
{{end}}
{{- with .not_after}}valid until:  {{.}}
{{end}}
{{- with .replaces}}replaces:     enrollment {{.}}
{{end}}
{{- with .time}}time:         {{.}}
{{end}}{{end}}

{{define "requested subject"}}Request {{.enrollment}}: {{.names}}{{end}}
{{define "requested"}}
Request {{.enrollment}} was made.

{{template "facts" .}}
{{end}}

{{define "waiting subject"}}Request {{.enrollment}} waits for approval: {{.names}}{{end}}
{{define "waiting"}}
Request {{.enrollment}} waits for approval{{with .lapses}}, until {{.}} at the latest{{end}}.

{{template "facts" .}}
To decide it:

    gatehouse request show {{.enrollment}}
    gatehouse request approve {{.enrollment}}
    gatehouse request decline {{.enrollment}} --message TEXT
{{end}}

{{define "approved subject"}}Request {{.enrollment}} is approved: {{.names}}{{end}}
{{define "approved"}}
Request {{.enrollment}} is approved{{with .actor}}, last by {{.}}{{end}}.

{{template "facts" .}}
{{end}}

{{define "declined subject"}}Request {{.enrollment}} was declined: {{.names}}{{end}}
{{define "declined"}}
Request {{.enrollment}} was declined{{with .actor}} by {{.}}{{end}}.

{{with .detail}}message:      {{.}}
{{end}}{{template "facts" .}}
{{end}}

{{define "issued subject"}}Certificate {{.enrollment}} is issued: {{.names}}{{end}}
{{define "issued"}}
Certificate {{.enrollment}} is issued.

{{template "facts" .}}
{{end}}

{{define "revoked subject"}}Certificate {{.enrollment}} is revoked: {{.names}}{{end}}
{{define "revoked"}}
Certificate {{.enrollment}} is revoked{{with .actor}} by {{.}}{{end}}{{with .reason}}, reason {{.}} (RFC 5280, 5.3.1){{end}}.

{{template "facts" .}}
{{end}}

{{define "failed subject"}}Request {{.enrollment}} failed: {{.names}}{{end}}
{{define "failed"}}
Request {{.enrollment}} failed and will not be issued.

{{with .detail}}reason:       {{.}}
{{end}}{{template "facts" .}}
{{end}}

{{define "removed subject"}}Certificate {{.enrollment}} is removed: {{.names}}{{end}}
{{define "removed"}}
Certificate {{.enrollment}} is removed from every list{{with .actor}} by {{.}}{{end}}. It is not revoked by that.

{{template "facts" .}}
{{end}}

{{define "expiring subject"}}Certificate {{.enrollment}} expires {{.not_after}}: {{.names}}{{end}}
{{define "expiring"}}
Certificate {{.enrollment}} is valid until {{.not_after}}, and no other has taken its place.

{{template "facts" .}}
{{end}}

{{define "domain-validated subject"}}Domain {{.domain}} is validated{{end}}
{{define "domain-validated"}}
Control of {{.domain}} was proven.

{{with .organisation}}organisation: {{.}}
{{end}}time:         {{.time}}
{{end}}
`
