// Package rest is what the REST dialects share: JSON and forms read strictly, pages, routes by a table, and answers.
//
// It decides whether a body is JSON that can be read in one way only, whether a member has the type and the size that a
// dialect asks for, and which route a path takes. It trusts a dialect to know its vendor's names, numbers and statuses, and to
// have authenticated the caller. It never knows an enrollment, never names an error by a vendor's number, and never repeats what a
// client sent in an error but the names of members.
package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// What is wrong with a request, in the chain of the *problem.Error that says so to people: dialects have numbers for these.
var (
	ErrBody    = errors.New("the body cannot be read")
	ErrMissing = errors.New("a required value is missing")
	ErrValue   = errors.New("a value is not one that can be had")
)

// WriteJSON answers with a value as JSON, in UTF-8 and with its length.
func WriteJSON(w http.ResponseWriter, status int, contentType string, value any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	body := bytes.TrimRight(b.Bytes(), "\n")
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}
