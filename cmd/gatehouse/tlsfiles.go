package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// recheck is how often the listener's files are looked at for changes.
const recheck = 10 * time.Second

// config is the TLS of the listener. The files are read now, and again when a handshake finds them changed; if a change
// cannot be read, the certificate that works stays.
func (c *tlsConfig) config(log *slog.Logger) (*tls.Config, error) {
	f := &tlsFiles{tlsConfig: *c, log: log}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("the listener's certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certificate}, nil
}

// tlsFiles is a certificate that follows its files.
type tlsFiles struct {
	tlsConfig
	log *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // modification times of what is current
	looked  time.Time
}

func (f *tlsFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) > recheck {
		f.looked = time.Now()
		if stamp, err := f.stamps(); err != nil || stamp != f.stamp {
			if err := f.load(); err != nil {
				f.log.Error("the listener's certificate has changed and cannot be read; the old one stays", "error", err)
			} else {
				f.log.Info("the listener's certificate was read again", "notAfter", f.current.Leaf.NotAfter)
			}
		}
	}
	return f.current, nil
}

func (f *tlsFiles) stamps() (s [2]time.Time, err error) {
	for i, path := range []string{f.Cert, f.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return s, err
		}
		s[i] = info.ModTime()
	}
	return s, nil
}

func (f *tlsFiles) load() error {
	stamp, err := f.stamps()
	if err != nil {
		return err
	}
	pair, err := loadPair(f.Cert, f.Key)
	if err != nil {
		return err
	}
	f.current, f.stamp, f.looked = &pair, stamp, time.Now()
	return nil
}

// loadPair reads a certificate, leaf first, and its key, which nobody else may be able to read.
func loadPair(cert, key string) (tls.Certificate, error) {
	if _, err := ca.LoadKey(key); err != nil { // also refuses a key that others may read
		return tls.Certificate{}, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", cert, key, err)
	}
	return pair, nil
}
