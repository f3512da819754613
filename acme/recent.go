package acme

import "sync"

// recent remembers things that may be forgotten: at least the last kept keys that were put, at most twice as many. It is
// safe for concurrent use.
type recent[K comparable, V any] struct {
	mu    sync.Mutex
	young map[K]V
	old   map[K]V // what young was before it was full; dropped when it is full again
	kept  int
}

func (r *recent[K, V]) init(kept int) { r.young, r.kept = make(map[K]V), kept }

func (r *recent[K, V]) get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(key)
}

// take gets what is kept under a key, and forgets it.
func (r *recent[K, V]) take(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.find(key)
	delete(r.young, key)
	delete(r.old, key)
	return v, ok
}

// put keeps what change makes of what is kept, which is the zero V if nothing is.
func (r *recent[K, V]) put(key K, change func(V) V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, _ := r.find(key)
	delete(r.old, key)
	if _, there := r.young[key]; !there && len(r.young) >= r.kept {
		r.young, r.old = make(map[K]V), r.young
	}
	r.young[key] = change(v)
}

func (r *recent[K, V]) find(key K) (V, bool) {
	v, ok := r.young[key]
	if !ok {
		v, ok = r.old[key]
	}
	return v, ok
}
