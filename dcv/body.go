package dcv

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	minToken       = 22  // characters: 128 bits in base64url (RFC 8555, 8.3)
	maxToken       = 256 // characters; ours are far shorter
	thumbprintSize = 43  // characters: SHA-256 in base64url (RFC 8555, 8.1)
	// bodySlack is how many bytes beyond the key authorization are read, for the white space that servers append and to
	// tell what it is that was found instead.
	bodySlack = 128
)

// bodyLimit is how many bytes of a response to a challenge are read.
func bodyLimit(keyAuthorization string) int { return len(keyAuthorization) + bodySlack }

// compare returns "" if body is the key authorization, trailing white space aside (RFC 8555, 8.3), or what kind of thing
// it is instead. It never returns any of the body. more says that the body went on behind what was read.
func compare(body []byte, more bool, keyAuthorization string) string {
	trimmed := bytes.TrimRight(body, " \t\r\n")
	if !more && subtle.ConstantTimeCompare(trimmed, []byte(keyAuthorization)) == 1 {
		return ""
	}
	if more {
		return fmt.Sprintf("%s of more than %d bytes", kindOf(trimmed), len(body))
	}
	token, _, _ := strings.Cut(keyAuthorization, ".")
	gotToken, gotPrint, dotted := strings.Cut(string(trimmed), ".")
	switch {
	case len(body) == 0:
		return "an empty body"
	case len(trimmed) == 0:
		return "nothing but white space"
	case string(bytes.TrimLeft(trimmed, "\ufeff \t\r\n")) == keyAuthorization:
		return "the key authorization behind white space or a byte order mark"
	case string(bytes.Trim(trimmed, `"'`)) == keyAuthorization:
		return "the key authorization in quotation marks"
	case string(trimmed) == token:
		return "the token alone, without the account key's thumbprint"
	case dotted && gotToken == token && isBase64URL(gotPrint) && len(gotPrint) == thumbprintSize:
		return "the key authorization of another account key"
	case dotted && len(gotToken) >= minToken && isBase64URL(gotToken) && isBase64URL(gotPrint) && len(gotPrint) == thumbprintSize:
		return "another token's key authorization"
	}
	return fmt.Sprintf("%s of %d bytes", kindOf(trimmed), len(body))
}

// kindOf names what sort of document starts with head.
func kindOf(head []byte) string {
	head = bytes.TrimLeft(head, "\ufeff \t\r\n")
	lower := bytes.ToLower(head[:min(len(head), 64)])
	switch {
	case bytes.HasPrefix(lower, []byte("<!doctype html")), bytes.HasPrefix(lower, []byte("<html")),
		bytes.HasPrefix(lower, []byte("<head")), bytes.HasPrefix(lower, []byte("<body")):
		return "an HTML page"
	case bytes.HasPrefix(lower, []byte("<")):
		return "a markup document"
	case bytes.HasPrefix(lower, []byte("{")), bytes.HasPrefix(lower, []byte("[")):
		return "a JSON document"
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "compressed data"
	case bytes.HasPrefix(lower, []byte("-----begin ")):
		return "a PEM document"
	}
	for i := 0; i < len(head); {
		r, size := utf8.DecodeRune(head[i:])
		// The read may have ended inside a character; that alone does not make text binary.
		if r == utf8.RuneError && size == 1 && utf8.FullRune(head[i:]) || r < ' ' && r != '\t' && r != '\r' && r != '\n' {
			return "binary data"
		}
		i += size
	}
	return "text"
}

// isBase64URL reports whether s is non-empty and made of the base64url alphabet without padding (RFC 8555, 6.1).
func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}
