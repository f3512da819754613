package console

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
)

// look is the style of all pages, which stands in each, so that a page is one request, and the Content-Security-Policy by which a
// browser applies it and nothing else.
func look() (template.CSS, string, error) {
	style, err := files.ReadFile("pages/style.css")
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(style)
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return template.CSS(style), policy, nil
}

// secure sets the headers of every answer: nothing of it is kept, indexed, framed or told to other sites. Its address, which may end
// in a secret, is told to nobody, its origin is: under "no-referrer" a browser says "Origin: null" of its own form, and where it
// has no Sec-Fetch-Site, as over plain HTTP, the form could not be told from another site's.
func secure(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}
