package dcv

import (
	"context"
	"sync"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// slots bound how many validations run at once: in all, so that the gateway keeps its sockets, and for one target, so
// that an applicant cannot turn the gateway against somebody.
type slots struct {
	all       chan struct{}
	perTarget int

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is the queue of one target. It lives while somebody runs or waits in it.
type lane struct {
	free  chan struct{}
	users int // guarded by slots.mu
}

func newSlots(all, perTarget int) *slots {
	return &slots{all: make(chan struct{}, all), perTarget: perTarget, lanes: map[string]*lane{}}
}

// targetOf is whom a validation may burden: the registered domain, so that names below one domain share, else the name or
// address itself.
func targetOf(id identifier.Identifier) string {
	if domain := id.RegisteredDomain(); domain != "" {
		return domain
	}
	return id.Value()
}

// acquire waits for a slot until ctx ends. The target's own queue comes first: whoever waits there holds nothing that
// others need. release must be called once.
func (s *slots) acquire(ctx context.Context, target string) (release func(), err error) {
	s.mu.Lock()
	l := s.lanes[target]
	if l == nil {
		l = &lane{free: make(chan struct{}, s.perTarget)}
		s.lanes[target] = l
	}
	l.users++
	s.mu.Unlock()

	if err := enter(ctx, l.free); err != nil {
		s.leave(target, l)
		return nil, err
	}
	if err := enter(ctx, s.all); err != nil {
		<-l.free
		s.leave(target, l)
		return nil, err
	}
	return func() {
		<-s.all
		<-l.free
		s.leave(target, l)
	}, nil
}

func enter(ctx context.Context, free chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slots) leave(target string, l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.lanes, target)
	}
}
