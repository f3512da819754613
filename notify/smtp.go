package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// TLSMode says how a mail server is spoken to.
type TLSMode string

// The modes.
const (
	StartTLS  TLSMode = "starttls" // RFC 3207, required: a server without it is given nothing
	TLS       TLSMode = "tls"      // from the first octet (RFC 8314, 3.3)
	Cleartext TLSMode = "none"
)

// SMTPConfig is a mail server. Host, Port and From are required.
type SMTPConfig struct {
	Host string // also what its certificate must name
	Port uint16
	TLS  TLSMode
	// Roots certify the server; nil: the system's.
	Roots *x509.CertPool
	// Hello is the name given in EHLO.
	Hello string
	// Username and Password authenticate, by PLAIN or LOGIN; empty: not. They are never sent in clear but to loopback.
	Username, Password string
	From               string // an address; see [CheckAddress]
	FromName           string // printable ASCII without quotation marks, for people; may be empty
}

// SMTP is a mail server as a [Transport]. Each message has a connection of its own, so one that hangs hinders no other.
type SMTP struct{ SMTPConfig }

// NewSMTP checks a configuration. It connects to nothing.
func NewSMTP(c SMTPConfig) (*SMTP, error) {
	c.Hello = cmp.Or(c.Hello, "localhost")
	if c.Host == "" || c.Port == 0 {
		return nil, errors.New("a mail server has a host and a port, as in smtp.example.com:587")
	}
	if err := CheckAddress(c.From); err != nil {
		return nil, err
	}
	if strings.ContainsFunc(c.FromName, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) || len(c.FromName) > 60 {
		return nil, fmt.Errorf("%q cannot stand beside an address; write at most 60 characters of ASCII without quotation marks", c.FromName)
	}
	if !slices.Contains([]TLSMode{StartTLS, TLS, Cleartext}, c.TLS) {
		return nil, fmt.Errorf("%q is no way to speak to a mail server; write starttls, tls or none", c.TLS)
	}
	if c.Username == "" != (c.Password == "") {
		return nil, errors.New("a user name needs a password, and a password a user name")
	}
	if c.TLS == Cleartext && c.Username != "" && !isLoopback(c.Host) {
		return nil, errors.New("the password would be sent in clear; use tls: starttls, or give no user name")
	}
	return &SMTP{c}, nil
}

// isLoopback reports whether a host is this machine, without asking the DNS.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Send implements [Transport].
func (s *SMTP) Send(ctx context.Context, m *Message) error {
	msg, err := s.message(m)
	if err != nil {
		return &Refusal{OfMail, err}
	}
	return s.with(ctx, func(client *mail.Client, session *smtp.Client) error {
		err := client.SendWithSMTPClient(session, msg)
		if msg.IsDelivered() { // whatever came behind that
			return nil
		}
		return refusal(err)
	})
}

// Check connects, authenticates and takes leave.
func (s *SMTP) Check(ctx context.Context) error {
	return s.with(ctx, func(*mail.Client, *smtp.Client) error { return nil })
}

// with opens a session, and closes its connection whatever happens.
func (s *SMTP) with(ctx context.Context, use func(*mail.Client, *smtp.Client) error) error {
	d := &dialing{host: s.Host, immediate: s.TLS == TLS, config: s.tls()}
	defer d.close()
	client, err := mail.NewClient(s.Host, s.options(ctx, d)...)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, d.close)
	defer stop()
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return &Refusal{OfServer, s.explain(ctx, err)}
	}
	if err := use(client, session); err != nil {
		if ctx.Err() != nil {
			err = &Refusal{OfServer, s.explain(ctx, err)}
		}
		return err
	}
	client.CloseWithSMTPClient(session) // QUIT: the message is the server's by now, so what comes of it is of no interest
	return nil
}

func (s *SMTP) tls() *tls.Config {
	return &tls.Config{RootCAs: s.Roots, ServerName: s.Host, MinVersion: tls.VersionTLS12}
}

func (s *SMTP) options(ctx context.Context, d *dialing) []mail.Option {
	timeout := time.Minute
	if end, ok := ctx.Deadline(); ok {
		timeout = max(0, time.Until(end)) + 5*time.Second // so that it is ctx which ends what takes too long
	}
	options := []mail.Option{
		mail.WithPort(int(s.Port)), mail.WithTimeout(timeout), mail.WithHELO(s.Hello), mail.WithTLSConfig(s.tls()), mail.WithDialContextFunc(d.dial),
		mail.WithoutNoop(), mail.WithoutSMTPUTF8(),
	}
	policy := mail.NoTLS // also where the connection is TLS from the first octet
	if s.TLS == StartTLS {
		policy = mail.TLSMandatory
	}
	options = append(options, mail.WithTLSPolicy(policy))
	if s.Username != "" {
		options = append(options, mail.WithSMTPAuthCustom(&login{user: s.Username, password: s.Password, host: s.Host}))
	}
	return options
}

// message writes the headers (RFC 5322; RFC 3834, 5) and the text.
func (s *SMTP) message(m *Message) (*mail.Msg, error) {
	if err := CheckAddress(m.To); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(s.From, "@")
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	err := errors.Join(msg.EnvelopeFrom(s.From), msg.To(m.To))
	if s.FromName == "" {
		err = errors.Join(err, msg.From(s.From))
	} else {
		err = errors.Join(err, msg.FromFormat(s.FromName, s.From))
	}
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	msg.SetDateWithValue(m.Date.UTC())
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.Subject(m.Subject)
	msg.SetBodyString(mail.TypeTextPlain, m.Body)
	return msg, err
}

// refusal sorts what a session ended with. Only an answer of the server to the recipient or the content is about the mail; one
// about the sender would be the same for every mail.
func refusal(err error) error {
	e, ok := errors.AsType[*mail.SendError](err)
	if !ok {
		return &Refusal{OfServer, err}
	}
	scope := OfServer
	switch code := e.ErrorCode(); e.Reason {
	case mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose:
		switch {
		case code == 421: // RFC 5321, 3.8: the service is closing the connection
		case code/100 == 4:
			scope = OfNow
		case code/100 == 5:
			scope = OfMail
		}
	case mail.ErrGetSender, mail.ErrGetRcpts, mail.ErrNoUnencoded:
		scope = OfMail
	}
	return &Refusal{scope, err}
}

// explain says what to do about a session that did not come about.
func (s *SMTP) explain(ctx context.Context, err error) error {
	waited, ok := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil, ok && waited.Timeout():
		return fmt.Errorf("%s:%d does not answer in time", s.Host, s.Port)
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return fmt.Errorf("%s:%d offers no STARTTLS; use the port of its submission service (587), or tls: tls (465)", s.Host, s.Port)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the certificate of %s:%d is not trusted: %w; name its roots with ca under mail", s.Host, s.Port, err)
	}
	if e, ok := errors.AsType[*textproto.Error](err); ok && (e.Code == 535 || e.Code == 534 || e.Code == 530) {
		return fmt.Errorf("%s:%d does not accept username and password: %w", s.Host, s.Port, err)
	}
	return fmt.Errorf("%s:%d: %w", s.Host, s.Port, err)
}

// dialing opens the connection of one session, and closes it whatever the library makes of it.
type dialing struct {
	host      string
	immediate bool // TLS from the first octet
	config    *tls.Config

	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

func (d *dialing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conn = conn
	closed := d.closed
	d.mu.Unlock()
	if closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	if !d.immediate {
		return conn, nil
	}
	secure := tls.Client(conn, d.config)
	return secure, secure.HandshakeContext(ctx)
}

func (d *dialing) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.conn != nil {
		d.conn.Close()
	}
}

// login authenticates by what the server offers, PLAIN (RFC 4616) before LOGIN.
type login struct {
	user, password, host string
	chosen               smtp.Auth
}

// Start implements [smtp.Auth].
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	loopback := isLoopback(l.host)
	switch {
	case slices.Contains(server.Auth, "PLAIN"):
		l.chosen = smtp.PlainAuth("", l.user, l.password, l.host, loopback)
	case slices.Contains(server.Auth, "LOGIN"):
		l.chosen = smtp.LoginAuth(l.user, l.password, l.host, loopback)
	default:
		return "", nil, fmt.Errorf("the server takes no password: it offers neither AUTH PLAIN nor LOGIN but %q", strings.Join(server.Auth, " "))
	}
	return l.chosen.Start(server)
}

// Next implements [smtp.Auth].
func (l *login) Next(fromServer []byte, more bool) ([]byte, error) {
	return l.chosen.Next(fromServer, more)
}
