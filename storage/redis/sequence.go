package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// NextID does not wait for replicas: a number is worth something only in a commit, which does, and what was written before
// it on the same server is then confirmed as well.
func (e *Engine) NextID(ctx context.Context, sequence string, n int) (int64, error) {
	if n < 1 || n > maxBlock {
		return 0, fmt.Errorf("storage: a block has 1 to %d numbers, not %d", maxBlock, n)
	}
	if err := checkName("a sequence", sequence); err != nil {
		return 0, err
	}
	a, err := e.call(ctx, request{script: scriptNext, keys: []string{e.keys.epoch(), e.keys.sequence(sequence)}, args: []any{n}})
	if err != nil {
		return 0, err
	}
	text, _ := a.values[0].(string)
	last, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: sequence %q stands at %v", storage.ErrUnavailable, sequence, a.values[0])
	}
	return last - int64(n) + 1, nil
}

// LiftID compares on the server, so that two lifts at once end at the higher number.
func (e *Engine) LiftID(ctx context.Context, sequence string, last int64) error {
	if err := checkName("a sequence", sequence); err != nil {
		return err
	}
	r := request{script: scriptLift, keys: []string{e.keys.epoch(), e.keys.sequence(sequence)}, args: []any{last}}
	if last < 1 { // a sequence starts at 1: nothing to do but to say whether the store serves
		r = request{script: scriptProbe, keys: []string{e.keys.epoch()}}
	}
	_, err := e.call(ctx, r)
	return err
}
