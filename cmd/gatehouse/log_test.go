package main

import (
	"bytes"
	"strings"
	"sync"
)

// lockedBuffer is a buffer that may be written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tail is the end of a long log, without the requests that went well.
func (b *lockedBuffer) tail() string {
	const most = 16 << 10
	var kept strings.Builder
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, `"msg":"request"`) || !strings.Contains(line, `"status":2`) {
			kept.WriteString(line)
		}
	}
	text := kept.String()
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}
