package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Argon2 is what a hash of a password costs (RFC 9106, argon2id). The zero value is 64 MiB, three passes, one lane.
type Argon2 struct {
	Memory  uint32 // KiB, 8 times Threads to 1 GiB
	Passes  uint32 // 1 to 100
	Threads uint8  // lanes, 1 to 16
}

const (
	saltSize = 16 // RFC 9106, 3.1 recommends it
	hashSize = 32

	minPassword = 12  // characters
	maxPassword = 256 // octets: what is longer is not hashed
)

func (a Argon2) orDefault() Argon2 {
	if a == (Argon2{}) {
		return Argon2{Memory: 64 << 10, Passes: 3, Threads: 1}
	}
	return a
}

// Check says what is wrong with parameters; nil for the zero value.
func (a Argon2) Check() error {
	a = a.orDefault()
	if a.Threads < 1 || a.Threads > 16 || a.Passes < 1 || a.Passes > 100 || a.Memory < 8*uint32(a.Threads) || a.Memory > 1<<20 {
		return errors.New("argon2 takes 1 to 16 threads, 1 to 100 passes, and 8 KiB for each thread to 1 GiB of memory")
	}
	return nil
}

// hash is a password's hash with its parameters and a new salt, in the form that is usual: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (a Argon2) hash(password string) []byte {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return a.write(salt, argon2.IDKey([]byte(password), salt, a.Passes, a.Memory, a.Threads, hashSize))
}

// nobodys is what a hash looks like, of no password that anybody could find. It costs nothing to make, and as much as any other to
// hold a password against.
func (a Argon2) nobodys() []byte {
	salt, sum := make([]byte, saltSize), make([]byte, hashSize)
	rand.Read(salt)
	rand.Read(sum)
	return a.write(salt, sum)
}

func (a Argon2) write(salt, sum []byte) []byte {
	b64 := base64.RawStdEncoding
	return fmt.Appendf(nil, "$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.Memory, a.Passes, a.Threads, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// parseHash takes apart what hash made. Parameters that [Argon2.Check] refuses are an error: they would be the store's word
// for how much memory to take.
func parseHash(text []byte) (a Argon2, salt, sum []byte, err error) {
	parts := strings.Split(string(text), "$")
	var v int
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return a, nil, nil, errors.New("the hash of a password is not of a known form")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &v, &a.Memory, &a.Passes, &a.Threads); err != nil || v != argon2.Version {
		return a, nil, nil, errors.New("the hash of a password has parameters of an unknown form")
	}
	salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err = errors.Join(err, err2); err != nil || len(salt) < 8 || len(sum) != hashSize || a == (Argon2{}) || a.Check() != nil {
		return a, nil, nil, errors.New("the hash of a password is damaged")
	}
	return a, salt, sum, nil
}

// verifyHash says whether a password is the one of a hash, and whether the hash has other parameters than wanted.
func verifyHash(text []byte, password string, want Argon2) (ok, stale bool, err error) {
	a, salt, sum, err := parseHash(text)
	if err != nil {
		return false, false, err
	}
	got := argon2.IDKey([]byte(password), salt, a.Passes, a.Memory, a.Threads, hashSize)
	return subtle.ConstantTimeCompare(got, sum) == 1, a != want, nil
}

// checkPassword is nil if a password may be given to a principal. No error repeats it.
func checkPassword(login, password string) error {
	switch {
	case !utf8.ValidString(password) || len(password) > maxPassword:
		return problem.New(problem.Malformed, "a password is text of at most %d octets", maxPassword)
	case utf8.RuneCountInString(password) < minPassword:
		return problem.New(problem.Malformed, "the password has less than %d characters; choose a longer one, or let one be made with --generate", minPassword)
	case strings.ContainsFunc(password, unicode.IsControl):
		return problem.New(problem.Malformed, "the password holds a control character; is it one line?")
	case strings.Contains(strings.ToLower(password), login) && len(password) < len(login)+minPassword:
		return problem.New(problem.Malformed, "the password is little more than the login; choose another")
	default:
		return nil
	}
}

// NewPassword is a password of 130 random bits, for people to type.
func NewPassword() string {
	text := strings.ToLower(rand.Text())
	return text[:6] + "-" + text[6:13] + "-" + text[13:19] + "-" + text[19:]
}

// hashing lets so many hashes be made at once, each of which takes tens of megabytes, and no more.
type hashing struct {
	slots chan struct{}
	wait  time.Duration
}

func newHashing(atOnce int, wait time.Duration) *hashing {
	return &hashing{make(chan struct{}, atOnce), wait}
}

// do runs f when there is a slot; Unavailable if there is none in time. f is not cut short.
func (h *hashing) do(ctx context.Context, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, h.wait)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return errBusy
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return errBusy
	}
	defer func() { <-h.slots }()
	f()
	return nil
}

var errBusy = problem.New(problem.Unavailable, "too many passwords are being verified now; try again").After(2 * time.Second)
