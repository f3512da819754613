package testca

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/mail"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SMTPConfig says where a mail server listens. The zero value is usable: without TLS, on 127.0.0.1 with a free port.
type SMTPConfig struct {
	Addr string // host:port; default 127.0.0.1 with a free port
	// Certificate makes it offer STARTTLS, or with Immediate speak TLS from the first octet.
	Certificate *tls.Certificate
	Immediate   bool
	// Username and Password must be given before a mail is taken, if they are set.
	Username, Password string
}

// SMTP is a programmable mail server, which keeps what it takes. All methods are safe for concurrent use and take effect with
// the next command of a client.
type SMTP struct {
	cfg      SMTPConfig
	listener net.Listener
	server   *smtp.Server
	ctx      context.Context // ends at Close, and with it what is being held
	stop     context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	fault    SMTPFault
	faults   map[string]SMTPFault // by recipient
	mails    []SMTPMail
	sessions int
	arrived  chan struct{}
}

// SMTPMail is one mail as it arrived.
type SMTPMail struct {
	From, To string // of the envelope
	Hello    string
	TLS      bool
	User     string // "" if nobody authenticated
	Data     []byte
}

// Message parses the mail.
func (m SMTPMail) Message() (*mail.Message, error) { return mail.ReadMessage(bytes.NewReader(m.Data)) }

// SMTPStage is where in a session a fault shows.
type SMTPStage uint8

// The stages.
const (
	SMTPNever   SMTPStage = iota
	SMTPHello             // the answer to EHLO
	SMTPFrom              // MAIL FROM
	SMTPTo                // RCPT TO
	SMTPContent           // the end of DATA
)

// SMTPFault is how a mail server goes wrong: with a Code it answers that, with Hang nothing until it is closed, and otherwise it
// closes the connection. With Keep it keeps the mail all the same.
type SMTPFault struct {
	Stage SMTPStage
	Code  int
	Text  string
	Hang  bool
	Keep  bool
}

// NewSMTP starts a server.
func NewSMTP(cfg SMTPConfig) (*SMTP, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s := &SMTP{cfg: cfg, faults: map[string]SMTPFault{}, arrived: make(chan struct{})}
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("testca: SMTP: %w", err)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.server = smtp.NewServer(smtp.BackendFunc(s.session))
	s.server.Domain, s.server.AllowInsecureAuth = "mail.example.test", true
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	s.server.ErrorLog = log.New(io.Discard, "", 0) // clients that leave in the middle are the point of these tests
	serving := s.listener
	if cfg.Certificate != nil {
		config := &tls.Config{Certificates: []tls.Certificate{*cfg.Certificate}, MinVersion: tls.VersionTLS12}
		if s.server.TLSConfig = config; cfg.Immediate {
			serving = tls.NewListener(s.listener, config)
		}
	}
	s.wg.Go(func() { _ = s.server.Serve(serving) })
	return s, nil
}

// Addr is the server's address, host:port.
func (s *SMTP) Addr() string { return s.listener.Addr().String() }

// SetFault sets how every mail goes wrong; the zero value ends that.
func (s *SMTP) SetFault(f SMTPFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// SetFaultFor sets how mails to one recipient go wrong.
func (s *SMTP) SetFaultFor(to string, f SMTPFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[to] = f
}

// Mails are those that were taken, in their order.
func (s *SMTP) Mails() []SMTPMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Await returns the mails once there are n, or ctx's error.
func (s *SMTP) Await(ctx context.Context, n int) ([]SMTPMail, error) {
	for {
		s.mu.Lock()
		mails, arrived := slices.Clone(s.mails), s.arrived
		s.mu.Unlock()
		if len(mails) >= n {
			return mails, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return mails, fmt.Errorf("testca: SMTP: %d mails of %d: %w", len(mails), n, ctx.Err())
		}
	}
}

// Sessions counts the clients that said hello.
func (s *SMTP) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Close ends the server and every connection.
func (s *SMTP) Close() error {
	s.stop()
	_ = s.listener.Close() // which the server may not know yet
	err := s.server.Close()
	s.wg.Wait()
	if errors.Is(err, smtp.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *SMTP) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	if err := s.fail(SMTPHello, "", c); err != nil {
		return nil, err
	}
	return &smtpSession{server: s, conn: c}, nil
}

// fail shows the fault that is set for a stage, if one is.
func (s *SMTP) fail(stage SMTPStage, to string, c *smtp.Conn) error {
	s.mu.Lock()
	f, ok := s.faults[to]
	if !ok {
		f = s.fault
	}
	s.mu.Unlock()
	switch {
	case f.Stage != stage:
		return nil
	case f.Hang:
		<-s.ctx.Done()
		return errors.New("closing")
	case f.Code != 0:
		return &smtp.SMTPError{Code: f.Code, EnhancedCode: smtp.EnhancedCode{f.Code / 100, 0, 0}, Message: f.Text}
	default:
		_ = c.Conn().Close()
		return errors.New("closed")
	}
}

// keeps reports whether a mail is kept though its content goes wrong.
func (s *SMTP) keeps(to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.faults[to]
	if !ok {
		f = s.fault
	}
	return f.Stage != SMTPContent || f.Keep
}

func (s *SMTP) keep(m SMTPMail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// smtpSession is one client's.
type smtpSession struct {
	server         *SMTP
	conn           *smtp.Conn
	from, to, user string
}

// Reset implements smtp.Session.
func (s *smtpSession) Reset() { s.from, s.to = "", "" }

// Logout implements smtp.Session.
func (s *smtpSession) Logout() error { return nil }

// AuthMechanisms implements smtp.AuthSession.
func (s *smtpSession) AuthMechanisms() []string {
	if s.server.cfg.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth implements smtp.AuthSession.
func (s *smtpSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.server.cfg.Username || password != s.server.cfg.Password {
			return smtp.ErrAuthFailed
		}
		s.user = username
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (s *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.cfg.Username != "" && s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return s.server.fail(SMTPFrom, "", s.conn)
}

// Rcpt implements smtp.Session.
func (s *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.server.fail(SMTPTo, to, s.conn)
}

// Data implements smtp.Session.
func (s *smtpSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.server.keeps(s.to) {
		_, secure := s.conn.TLSConnectionState()
		s.server.keep(SMTPMail{From: s.from, To: s.to, Hello: s.conn.Hostname(), TLS: secure, User: s.user, Data: data})
	}
	return s.server.fail(SMTPContent, s.to, s.conn)
}
