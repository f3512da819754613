package main

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// dieAt and stopAt arm a throw-away gateway to end as kill -9 would end it, or to stop as SIGSTOP stops it until SIGCONT
// comes: when a step of ca.Issue is reached, or before or after a commit that puts a key with a prefix, the count-th time
// that happens.
func (s *settings) dieAt(text string) error { return s.signalAt("--die-at", text, syscall.SIGKILL) }

func (s *settings) stopAt(text string) error { return s.signalAt("--stop-at", text, syscall.SIGSTOP) }

func (s *settings) signalAt(flag, text string, sig syscall.Signal) error {
	if text == "" {
		return nil
	}
	if s.step != nil || s.wrapEngine != nil {
		return errors.New("--die-at and --stop-at exclude each other")
	}
	when, rest, _ := strings.Cut(text, "=")
	what, number, _ := strings.Cut(rest, ":")
	count, err := strconv.Atoi(number)
	if err != nil || count < 1 {
		return fmt.Errorf("%s %q ends with no count", flag, text)
	}
	hit := countdown(count, sig)
	switch when {
	case "step":
		step, err := strconv.Atoi(what)
		if err != nil {
			return fmt.Errorf("%s %q names no step", flag, text)
		}
		s.step = func(reached int) {
			if reached == step {
				hit()
			}
		}
	case "before", "after":
		s.wrapEngine = func(e storage.Engine) storage.Engine {
			return &mortal{Engine: e, prefix: what, before: when == "before", hit: hit}
		}
	default:
		return fmt.Errorf("%s %q is not step=N:COUNT, before=KEY:COUNT or after=KEY:COUNT", flag, text)
	}
	return nil
}

// countdown makes a function that sends the process a signal the count-th time it is called.
func countdown(count int, sig syscall.Signal) func() {
	var left atomic.Int64
	left.Store(int64(count))
	return func() {
		if left.Add(-1) != 0 {
			return
		}
		syscall.Kill(syscall.Getpid(), sig)
		// Nothing more happens while the signal arrives, which another thread may take.
		if sig == syscall.SIGKILL {
			select {}
		}
		time.Sleep(time.Second)
	}
}

// mortal is an engine whose process is hit at a commit.
type mortal struct {
	storage.Engine
	prefix string
	before bool
	hit    func()
}

// Commit is hit before or after the commit it waits for.
func (m *mortal) Commit(ctx context.Context, b storage.Batch) error {
	puts := false
	for _, p := range b.Puts {
		puts = puts || strings.HasPrefix(string(p.Key), m.prefix)
	}
	if puts && m.before {
		m.hit()
	}
	err := m.Engine.Commit(ctx, b)
	if puts && !m.before && err == nil {
		m.hit()
	}
	return err
}

// witnessed wraps a signer so that a file, synced before each signature, holds everything it was ever asked to sign: what
// a crash test judges the records by.
func witnessed(key crypto.Signer, path string) (crypto.Signer, error) {
	if path == "" {
		return key, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--witness: %w", err)
	}
	return &witness{Signer: key, file: f}, nil
}

type witness struct {
	crypto.Signer
	mu   sync.Mutex
	file *os.File
}

// SignMessage is what x509 calls: the message is whole, not yet hashed. It notes, then signs.
func (w *witness) SignMessage(rand io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	w.mu.Lock()
	_, err := fmt.Fprintln(w.file, base64.StdEncoding.EncodeToString(msg))
	if err == nil {
		err = w.file.Sync()
	}
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return crypto.SignMessage(w.Signer, rand, msg, opts)
}

// Sign would let something be signed that the file does not show.
func (w *witness) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, fmt.Errorf("a witnessed signer signs messages, not digests")
}
