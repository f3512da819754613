package audit

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestEncoding holds the hand-made encoder to what encoding/json writes for the struct's tags.
func TestEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,20}`), rapid.String(), rapid.Just("\xff<&>\u2028\x00\"\\"))
		raw := rapid.SliceOfN(rapid.Byte(), 0, 40)
		moment := rapid.Custom(func(t *rapid.T) time.Time {
			sec := rapid.Int64Range(-62135596800, 253402300799).Draw(t, "sec")
			zone := time.FixedZone("", 3600*rapid.IntRange(0, 12).Draw(t, "zone"))
			return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).In(zone)
		})
		e := Event{
			Kind: Kind(text.Draw(t, "kind")), At: moment.Draw(t, "at"), Actor: text.Draw(t, "actor"),
			Org: rapid.Int32().Draw(t, "org"), Enrollment: rapid.Int64().Draw(t, "enrollment"), Account: text.Draw(t, "account"),
			Issuer: text.Draw(t, "issuer"), Serial: text.Draw(t, "serial"), Names: rapid.SliceOfN(text, 0, 3).Draw(t, "names"),
			Number: rapid.Int64().Draw(t, "number"), Reason: rapid.IntRange(-1, 10).Draw(t, "reason"),
			NotAfter: rapid.OneOf(rapid.Just(time.Time{}), moment).Draw(t, "notAfter"),
			Hash:     raw.Draw(t, "hash"), DER: raw.Draw(t, "der"), Data: raw.Draw(t, "data"), Detail: text.Draw(t, "detail"),
			Requester: text.Draw(t, "requester"), Issued: rapid.OneOf(rapid.Just(time.Time{}), moment).Draw(t, "issued"),
			Content: text.Draw(t, "content"), Approvers: rapid.SliceOfN(text, 0, 3).Draw(t, "approvers"),
		}
		got, err := appendEvent([]byte("{"), &e)
		if err != nil {
			t.Fatal(err)
		}
		e.At = e.At.UTC()
		if !e.NotAfter.IsZero() {
			e.NotAfter = e.NotAfter.UTC()
		}
		if !e.Issued.IsZero() {
			e.Issued = e.Issued.UTC()
		}
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want)+"\n", string(got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestEveryFieldIsWritten fails when a field is added to Event and forgotten in the encoder.
func TestEveryFieldIsWritten(t *testing.T) {
	var e Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(noon))
		case []byte:
			f.SetBytes([]byte{1})
		case []string:
			f.Set(reflect.ValueOf([]string{"a.example.com"}))
		default:
			if f.Kind() == reflect.String {
				f.SetString("x")
			} else {
				f.SetInt(1)
			}
		}
	}
	line := appendHead(nil, 2, [32]byte{1}, 2, "")
	line, err := appendEvent(line, &e)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := decode(line)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got.Event); diff != "" {
		t.Error(diff)
	}
}

func TestHeadSize(t *testing.T) {
	if n := len(appendHead(nil, 1<<62, [32]byte{}, 1<<62, "0123456789abcdef0123456789abcdef")) + 64; n > headSize {
		t.Errorf("a head takes %d bytes, headSize is %d", n, headSize)
	}
}
