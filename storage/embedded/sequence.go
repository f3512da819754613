package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gatehouse-ca/gatehouse/storage"
)

const maxBlock = 10_000

// NextID is durable before it returns. If it fails, numbers may have been skipped.
func (e *Engine) NextID(ctx context.Context, sequence string, n int) (first int64, err error) {
	if err := checkSequence(sequence); err != nil {
		return 0, err
	}
	if n < 1 || n > maxBlock {
		return 0, fmt.Errorf("storage: a block of a sequence has 1 to %d numbers, not %d", maxBlock, n)
	}
	given := make(chan int64, 1)
	err = e.submit(ctx, func(w *write) error {
		last := lastID(w.sequences.Get([]byte(sequence)))
		if last > math.MaxInt64-int64(n) {
			return fmt.Errorf("%w: sequence %q is used up", storage.ErrConflict, sequence)
		}
		given <- last + 1
		return w.lift(sequence, last+int64(n))
	})
	if err != nil {
		return 0, surely(ctx, err)
	}
	return <-given, nil
}

// LiftID writes only if the sequence stands lower.
func (e *Engine) LiftID(ctx context.Context, sequence string, last int64) error {
	if err := checkSequence(sequence); err != nil {
		return err
	}
	return surely(ctx, e.submit(ctx, func(w *write) error {
		if lastID(w.sequences.Get([]byte(sequence))) >= last {
			return nil
		}
		return w.lift(sequence, last)
	}))
}

func (w *write) lift(sequence string, last int64) error {
	w.dirty = true
	return w.sequences.Put([]byte(sequence), binary.BigEndian.AppendUint64(nil, uint64(last)))
}

// lastID reads the last number given out; a sequence that does not exist stands at zero.
func lastID(v []byte) int64 {
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func checkSequence(name string) error {
	if len(name) == 0 || len(name) > maxName {
		return fmt.Errorf("storage: a sequence name has 1 to %d bytes, not %d", maxName, len(name))
	}
	return nil
}
