package embedded

import (
	"context"
	"sync"
)

// hub delivers hints inside this process.
type hub struct {
	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]struct{}
	quit     chan struct{}
	tasks    sync.WaitGroup
}

// watcher merges hints that its reader has not taken yet, so a busy topic cannot crowd out another.
type watcher struct {
	topics map[string]bool // true: a hint is pending
	order  []string        // pending topics, oldest first
	kick   chan struct{}
}

func newHub() *hub {
	return &hub{watchers: make(map[*watcher]struct{}), quit: make(chan struct{})}
}

func (h *hub) watch(ctx context.Context, topics []string) <-chan string {
	out := make(chan string)
	w := &watcher{topics: make(map[string]bool, len(topics)), kick: make(chan struct{}, 1)}
	for _, topic := range topics {
		w.topics[topic] = false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(out)
		return out
	}
	h.watchers[w] = struct{}{}
	h.tasks.Go(func() {
		defer close(out)
		h.deliver(ctx, w, out)
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	})
	return out
}

func (h *hub) deliver(ctx context.Context, w *watcher, out chan<- string) {
	for {
		topic, ok := h.next(w)
		if !ok {
			select {
			case <-w.kick:
				continue
			case <-ctx.Done():
				return
			case <-h.quit:
				return
			}
		}
		select {
		case out <- topic:
		case <-ctx.Done():
			return
		case <-h.quit:
			return
		}
	}
}

func (h *hub) next(w *watcher) (topic string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.order) == 0 {
		return "", false
	}
	topic = w.order[0]
	w.order = w.order[1:]
	w.topics[topic] = false
	return topic, true
}

func (h *hub) wake(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		pending, watched := w.topics[topic]
		if !watched || pending {
			continue
		}
		w.topics[topic] = true
		w.order = append(w.order, topic)
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
}

// close ends all watchers and waits for them.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	close(h.quit)
	h.tasks.Wait()
}
