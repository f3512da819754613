package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// request is one run of a script.
type request struct {
	script *script
	keys   []string
	args   []any // without the two of the guard
	// replicate asks for Config.MinReplicas to confirm what the script wrote.
	replicate bool
	// lost is what the caller is told if the request may have been executed; nil: unavailable.
	lost func(error) error
}

// answer is a reply without its code.
type answer struct {
	code   int64
	values []any
	from   *server // the server that was checked when it was asked
	short  error   // why too few replicas are known to have what was written; nil if enough have
}

// call runs a script on the checked server and returns its reply, whose code is neither codeCheck nor codeRefused.
func (e *Engine) call(ctx context.Context, r request) (answer, error) {
	if r.lost == nil {
		r.lost = unavailable
	}
	return await(ctx, e, r.lost, func(ctx context.Context) (answer, error) { return e.do(ctx, r) })
}

// do repeats what was surely not executed, a few times.
func (e *Engine) do(ctx context.Context, r request) (answer, error) {
	for n := 0; ; n++ {
		s, err := e.ready(ctx)
		if err != nil {
			return answer{}, err
		}
		a, err := e.once(ctx, s, r)
		switch {
		case err == nil && a.code == codeRefused:
			return answer{}, fmt.Errorf("storage: %v", a.values)
		case err == nil && a.code != codeCheck:
			return a, nil
		}
		again, failed := e.mend(ctx, s, err, n)
		switch {
		case failed != nil:
			return answer{}, failed
		case again:
		case err == nil:
			return answer{}, unavailable(errors.New("the server changes all the time"))
		default:
			return answer{}, classify(ctx, err, r.lost)
		}
	}
}

// mend removes what kept a request from being executed, if that is what err says (nil: the guard refused), and returns
// whether to make it again. failed is why it could not be removed.
func (e *Engine) mend(ctx context.Context, s *server, err error, n int) (again bool, failed error) {
	if n >= maxRepeats {
		return false, nil
	}
	switch code(err) {
	case "NOSCRIPT":
		if err := e.load(ctx, s.node); err != nil {
			return false, classify(ctx, err, unavailable)
		}
		return true, nil
	case "MOVED":
		_, failed := e.check(ctx, s)
		return true, failed
	case "ASK", "TRYAGAIN":
		// The Cluster moves the slot. The node it goes to serves no script that names an absent key, as nearly every one
		// does, until all has arrived: waiting is all that helps.
		return e.pause(ctx, n), nil
	}
	switch {
	case err == nil:
		_, failed := e.check(ctx, s)
		return true, failed
	case isDial(err):
		if e.pause(ctx, n) {
			if e.cluster != nil {
				e.check(ctx, s) // another node may have taken over; if none has, the next attempt says so
			}
			return true, nil
		}
	case e.cluster != nil:
		e.cluster.ReloadState(ctx) // in the background: the node may have been replaced
	}
	return false, nil
}

// once makes one attempt. A nil error and codeCheck mean that nothing was done.
func (e *Engine) once(ctx context.Context, s *server, r request) (answer, error) {
	args := make([]any, 0, 2+len(r.args))
	args = append(append(args, s.epoch, "master_replid:"+s.history), r.args...)
	replicate := r.replicate && e.cfg.MinReplicas > 0
	if !replicate {
		if size, ok := r.fits(); ok {
			got, err := s.group.do(s.node, &grouped{ctx: ctx, sha: r.script.sha, keys: r.keys, args: args, size: size})
			return decode(got, err, s)
		}
		got, err := s.node.EvalSha(ctx, r.script.sha, r.keys, args...).Result()
		return decode(got, err, s)
	}
	pipe := s.node.Pipeline()
	run := pipe.EvalSha(ctx, r.script.sha, r.keys, args...)
	wait := e.wait(ctx, pipe, s)
	if _, err := pipe.Exec(ctx); err != nil && run.Err() == nil && run.Val() == nil {
		return answer{}, err // the connection could not be prepared: the library leaves the requests without an error
	}
	a, err := decode(run.Val(), run.Err(), s)
	if err == nil && a.code == codeDone {
		a.short = e.confirmed(s, wait)
	}
	return a, err
}

// wait adds the request for confirmation: by the replicas' memory (WAIT), or by their disks and the server's own where the
// server can (WAITAOF, since Redis 7.2).
func (e *Engine) wait(ctx context.Context, pipe redis.Pipeliner, s *server) *redis.Cmd {
	patience := e.cfg.ReplicaTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(min(patience, time.Until(deadline)/2), time.Millisecond)
	}
	if s.waitAOF {
		return pipe.Do(ctx, "WAITAOF", 1, e.cfg.MinReplicas, patience.Milliseconds())
	}
	return pipe.Do(ctx, "WAIT", e.cfg.MinReplicas, patience.Milliseconds())
}

// confirmed compares the count.
func (e *Engine) confirmed(s *server, wait *redis.Cmd) error {
	got, err := wait.Result()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotReplicated, err)
	}
	replicas, local := got, any(int64(1))
	if s.waitAOF {
		pair, _ := got.([]any)
		if len(pair) != 2 {
			return fmt.Errorf("%w: WAITAOF answered %v", ErrNotReplicated, got)
		}
		local, replicas = pair[0], pair[1]
	}
	n, _ := replicas.(int64)
	if synced, _ := local.(int64); synced < 1 {
		return fmt.Errorf("%w: the server has not synced it either", ErrNotReplicated)
	}
	if n < int64(e.cfg.MinReplicas) {
		return fmt.Errorf("%w: %d of %d", ErrNotReplicated, n, e.cfg.MinReplicas)
	}
	return nil
}

// decode splits a reply into code and values.
func decode(got any, err error, s *server) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	values, _ := got.([]any)
	if len(values) == 0 {
		return answer{}, unavailable(fmt.Errorf("a script answered %v", got))
	}
	code, ok := values[0].(int64)
	if !ok {
		return answer{}, unavailable(fmt.Errorf("a script answered %v", got))
	}
	return answer{code: code, values: values[1:], from: s}, nil
}

// load gives the server all scripts; it forgets them when it restarts, and replicas never had them.
func (e *Engine) load(ctx context.Context, node *redis.Client) error {
	pipe := node.Pipeline()
	for _, script := range scripts {
		pipe.ScriptLoad(ctx, script.text)
	}
	_, err := pipe.Exec(ctx)
	return err
}
