package audit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// headSize is at least the length of what appendHead writes.
const headSize = 256

// appendHead writes a line up to its event. Only the first line of a journal has the id.
func appendHead(dst []byte, seq int64, prev [32]byte, group int64, journal string) []byte {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, `,"prev":"`...)
	dst = hex.AppendEncode(dst, prev[:])
	dst = append(dst, `","group":`...)
	dst = strconv.AppendInt(dst, group, 10)
	if seq == 1 {
		dst = append(dst, `,"journal":"`...)
		dst = append(dst, journal...)
		dst = append(dst, '"')
	}
	return append(dst, ',')
}

// appendEvent writes the rest of the line, newline included, exactly as encoding/json would, at a fraction of its cost:
// the writer holds everybody up, and base64 is most of a line. TestEncoding holds the two equal.
func appendEvent(dst []byte, e *Event) ([]byte, error) {
	var err error
	dst = appendString(append(dst, `"kind":`...), string(e.Kind))
	if dst, err = appendTime(append(dst, `,"at":`...), e.At); err != nil {
		return dst, err
	}
	dst = appendString(append(dst, `,"actor":`...), e.Actor)
	dst = appendInt(dst, `,"org":`, int64(e.Org))
	dst = appendInt(dst, `,"enrollment":`, e.Enrollment)
	dst = appendText(dst, `,"account":`, e.Account)
	dst = appendText(dst, `,"issuer":`, e.Issuer)
	dst = appendText(dst, `,"serial":`, e.Serial)
	dst = appendList(dst, `,"names":[`, e.Names)
	dst = appendInt(dst, `,"number":`, e.Number)
	dst = appendInt(dst, `,"reason":`, int64(e.Reason))
	if !e.NotAfter.IsZero() {
		if dst, err = appendTime(append(dst, `,"notAfter":`...), e.NotAfter); err != nil {
			return dst, err
		}
	}
	dst = appendBytes(dst, `,"hash":"`, e.Hash)
	dst = appendBytes(dst, `,"der":"`, e.DER)
	dst = appendBytes(dst, `,"data":"`, e.Data)
	dst = appendText(dst, `,"detail":`, e.Detail)
	dst = appendText(dst, `,"door":`, e.Door)
	dst = appendText(dst, `,"profile":`, e.Profile)
	dst = appendText(dst, `,"profileHash":`, e.ProfileHash)
	dst = appendText(dst, `,"requester":`, e.Requester)
	if !e.Issued.IsZero() {
		if dst, err = appendTime(append(dst, `,"issued":`...), e.Issued); err != nil {
			return dst, err
		}
	}
	dst = appendText(dst, `,"content":`, e.Content)
	dst = appendList(dst, `,"approvers":[`, e.Approvers)
	return append(dst, "}\n"...), nil
}

func appendList(dst []byte, key string, list []string) []byte {
	for i, s := range list {
		if i == 0 {
			dst = append(dst, key...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	if len(list) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

func appendInt(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func appendText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(append(dst, key...), s)
}

func appendBytes(dst []byte, key string, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, key...), b), '"')
}

// appendString quotes s; invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func appendTime(dst []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 { // RFC 3339, 1: years have four digits
		return dst, fmt.Errorf("audit: the year %d cannot be written", y)
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"'), nil
}
