package redis

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// hub delivers hints: at once inside this process, and through one channel of the server to the other gateways.
type hub struct {
	engine *Engine
	self   string // in front of each message, so that the process does not hear itself

	mu       sync.Mutex
	closed   bool
	listens  bool // the server's channel is subscribed to
	watchers map[*watcher]struct{}
	outbox   *merged // topics to tell the others
	tasks    sync.WaitGroup
}

// watcher hears some topics.
type watcher struct {
	topics map[string]struct{}
	inbox  *merged
}

// merged is a queue in which each topic waits once, so that a busy one cannot crowd out another and nobody ever blocks.
// It is guarded by the hub.
type merged struct {
	waiting map[string]struct{}
	order   []string
	filled  chan struct{} // has room for one signal
}

func newMerged() *merged {
	return &merged{waiting: make(map[string]struct{}), filled: make(chan struct{}, 1)}
}

func (m *merged) add(topic string) {
	if _, waits := m.waiting[topic]; waits {
		return
	}
	m.waiting[topic] = struct{}{}
	m.order = append(m.order, topic)
	select {
	case m.filled <- struct{}{}:
	default:
	}
}

// take waits for a topic; ok is false when ctx ended first.
func (h *hub) take(ctx context.Context, m *merged) (topic string, ok bool) {
	for {
		h.mu.Lock()
		if len(m.order) > 0 {
			topic, m.order = m.order[0], m.order[1:]
			delete(m.waiting, topic)
			h.mu.Unlock()
			return topic, true
		}
		h.mu.Unlock()
		select {
		case <-m.filled:
		case <-ctx.Done():
			return "", false
		}
	}
}

func newHub(e *Engine) *hub {
	h := &hub{engine: e, self: rand.Text(), watchers: make(map[*watcher]struct{}), outbox: newMerged()}
	h.tasks.Go(h.publish)
	return h
}

// Watch delivers hints of all gateways. When the connection that carries those of the others was lost, all topics are
// hinted at once it is back, because some may have been missed.
func (e *Engine) Watch(ctx context.Context, topics ...string) <-chan string {
	return e.hub.watch(ctx, topics)
}

// Wake never blocks; the other gateways are told in the background.
func (e *Engine) Wake(_ context.Context, topic string) {
	h := e.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.hint(topic)
	h.outbox.add(topic)
}

// hint is called with the lock held.
func (h *hub) hint(topic string) {
	for w := range h.watchers {
		if _, watched := w.topics[topic]; watched {
			w.inbox.add(topic)
		}
	}
}

// hintAll hints at every watched topic.
func (h *hub) hintAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for topic := range w.topics {
			w.inbox.add(topic)
		}
	}
}

func (h *hub) watch(ctx context.Context, topics []string) <-chan string {
	out := make(chan string)
	w := &watcher{topics: make(map[string]struct{}, len(topics)), inbox: newMerged()}
	for _, topic := range topics {
		w.topics[topic] = struct{}{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(out)
		return out
	}
	if !h.listens {
		h.listens = true
		h.tasks.Go(h.listen)
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.engine.quit, cancel)()
	for {
		topic, ok := h.take(ctx, w.inbox)
		if !ok {
			return
		}
		select {
		case out <- topic:
		case <-ctx.Done():
			return
		}
	}
}

// publish tells the other gateways. What cannot be sent is lost, as hints may be.
func (h *hub) publish() {
	e := h.engine
	for {
		topic, ok := h.take(e.quit, h.outbox)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(e.quit, e.cfg.Timeout)
		if node, err := e.node(ctx); err != nil {
			e.log.Debug("redis: a hint was lost", "topic", topic, "error", err)
		} else if err := node.Publish(ctx, e.keys.channel(), h.self+topic).Err(); err != nil {
			e.log.Debug("redis: a hint was lost", "topic", topic, "error", err)
		}
		cancel()
	}
}

// listen hears the other gateways until the engine is closed. The library subscribes again when a connection breaks.
func (h *hub) listen() {
	e := h.engine
	subscription := e.client.Subscribe(e.quit, e.keys.channel())
	defer subscription.Close()
	messages := subscription.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(3*time.Second), redis.WithChannelSize(1000))
	for {
		select {
		case <-e.quit.Done():
			return
		case message, ok := <-messages:
			if !ok {
				return
			}
			switch m := message.(type) {
			case *redis.Subscription:
				h.hintAll()
			case *redis.Message:
				topic, own := strings.CutPrefix(m.Payload, h.self)
				if !own && len(topic) >= len(h.self) {
					h.mu.Lock()
					h.hint(topic[len(h.self):])
					h.mu.Unlock()
				}
			}
		}
	}
}

// close ends all watches and waits for them. The engine's quit has ended.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.tasks.Wait()
}
