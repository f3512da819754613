package main

import (
	"context"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/rest"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
)

// openDocs serves the OpenAPI documents of the doors that are open, and the page that shows them. They say what the program can do, which
// is no secret, and nothing of this deployment.
func (c *core) openDocs(mux *http.ServeMux) error {
	docs, err := rest.NewDocs(rest.DocsConfig{
		Documents: []rest.NamedDocument{{Name: "scm", Load: scm.OpenAPI}},
		Observe: func(ctx context.Context, resource string, err error) {
			event := web.Event(ctx)
			event.Endpoint(resource)
			event.Problem(err)
		},
	})
	if err != nil {
		return err
	}
	for _, path := range rest.DocsPaths() {
		mux.Handle(path, docs)
	}
	return nil
}
