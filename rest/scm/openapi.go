package scm

import (
	"embed"
	"io/fs"

	"github.com/gatehouse-ca/gatehouse/rest"
)

// The fragments: one of each API, and common.yaml.
//
//go:embed openapi/*.yaml
var fragments embed.FS

// OpenAPI is the document of all that is built. Each route of [Routes] is in it, and nothing else.
func OpenAPI() (*rest.OpenAPI, error) {
	folder, err := fs.Sub(fragments, "openapi")
	if err != nil {
		return nil, err
	}
	return rest.MergeOpenAPI(folder)
}
