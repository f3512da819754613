package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Visitor receives an [Engine.Export]. A nil function skips its part. What a function is handed is its own; an error it
// returns ends the export. Functions must not call the engine: it may be waiting for the export to end.
type Visitor struct {
	Record   func(key storage.Key, item storage.Item, expires time.Time) error // zero expires: kept for ever
	Member   func(entry storage.Entry) error
	Sequence func(name string, last int64) error
}

// Export visits every live record, index member and sequence as of one moment, each part in the order of its keys. It
// checks on the way that every index counts the members it has. Space freed by commits meanwhile is reused only after it.
func (e *Engine) Export(ctx context.Context, v Visitor) error {
	return e.view(ctx, func(r *read) error {
		for _, part := range []func(context.Context, Visitor) error{r.exportRecords, r.exportMembers, r.exportSequences} {
			if err := part(ctx, v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *read) exportRecords(ctx context.Context, v Visitor) error {
	if v.Record == nil {
		return nil
	}
	return r.tx.Bucket(bucketRecords).ForEach(func(k, envelope []byte) error {
		version, expires, value, err := unseal(envelope)
		if err != nil {
			return unavailable(fmt.Errorf("key %q: %w", k, err))
		}
		if expires <= r.now {
			return nil
		}
		var until time.Time
		if expires != never {
			until = time.UnixMilli(expires).UTC()
		}
		if err := ctx.Err(); err != nil {
			return unavailable(err)
		}
		return v.Record(storage.Key(k), storage.Item{Found: true, Value: bytes.Clone(value), Version: version}, until)
	})
}

func (r *read) exportMembers(ctx context.Context, v Visitor) error {
	if v.Member == nil {
		return nil
	}
	var index string
	var counted, members int64
	check := func() error {
		if counted != members {
			return fmt.Errorf("index %q counts %d members and has %d", index, counted, members)
		}
		return nil
	}
	err := r.tx.Bucket(bucketIndex).ForEach(func(k, value []byte) error {
		n := 2 + int(binary.BigEndian.Uint16(k))
		name, kind := string(k[2:n]), k[n]
		if name != index {
			if err := check(); err != nil {
				return err
			}
			index, counted, members = name, 0, 0
		}
		if kind == kindBlock {
			b, err := readBlock(k, value, name)
			counted += b.count
			return err
		}
		members++
		if err := ctx.Err(); err != nil {
			return unavailable(err)
		}
		return v.Member(storage.Entry{Index: name, Member: append([]byte{}, k[n+1:]...)})
	})
	if err != nil {
		return err
	}
	return check()
}

func (r *read) exportSequences(_ context.Context, v Visitor) error {
	if v.Sequence == nil {
		return nil
	}
	return r.tx.Bucket(bucketSequences).ForEach(func(k, last []byte) error { return v.Sequence(string(k), lastID(last)) })
}
