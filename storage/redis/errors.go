package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-ca/gatehouse/storage"
)

var (
	// ErrUnsafe: the server's settings would lose what it acknowledged. The message says what to set.
	ErrUnsafe = errors.New("the server's settings are refused")
	// ErrNotReplicated: fewer replicas than Config.MinReplicas have what was written. It comes with ErrUnknown from Commit
	// and with ErrUnavailable from reads.
	ErrNotReplicated = errors.New("too few replicas have confirmed the last commits")

	errClosed   = errors.New("the store is closed")
	errReplaced = errors.New("the server was replaced before its answer arrived")
)

func unavailable(cause error) error {
	if errors.Is(cause, storage.ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, cause)
}

func unknown(cause error) error { return fmt.Errorf("%w: %w", storage.ErrUnknown, cause) }

// dialError marks that no connection was made, so nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isDial(err error) bool {
	_, ok := errors.AsType[*dialError](err)
	return ok
}

// dialHook marks failed dials, those of a primary that the sentinels do not tell included.
type dialHook struct{}

func (dialHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
}

func (dialHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// reply returns the server's error reply, if err is one.
func reply(err error) (string, bool) {
	if e, ok := errors.AsType[redis.Error](err); ok && !errors.Is(err, redis.Nil) {
		return e.Error(), true
	}
	return "", false
}

// code is the first word of an error reply, such as MOVED or READONLY.
func code(err error) string {
	text, ok := reply(err)
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(text, " ")
	return word
}

// surely says that a request which failed with err was not executed.
func surely(err error) bool {
	if isDial(err) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, storage.ErrUnavailable) {
		return true
	}
	text, ok := reply(err)
	if !ok {
		return false
	}
	// Redis refuses a script before it begins, with a code of its own. An error inside a running script names the script;
	// refusals that are met there, at its first write, keep their code.
	switch code(err) {
	case "OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "NOPERM":
		return true
	}
	return !strings.Contains(text, "user_script") && !strings.Contains(text, "script: ")
}

// classify turns a failed request into one of the errors of the contract. maybe says what the caller of a request that may
// have been executed is told.
func classify(ctx context.Context, err error, maybe func(error) error) error {
	ended := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && ended == nil && !time.Now().Before(deadline) {
		ended = context.DeadlineExceeded // the socket's deadline is the context's, and may be noticed first
	}
	if ended != nil && !errors.Is(err, ended) {
		err = errors.Join(err, ended)
	}
	if surely(err) {
		return unavailable(err)
	}
	return maybe(err)
}
