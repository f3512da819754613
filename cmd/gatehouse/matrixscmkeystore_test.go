package main

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// keystoreRoutes are what is asked of links to the private key of an enrollment. To make one by GET takes the same right.
func keystoreRoutes(e *ra.Enrollment) map[string]scmRoute {
	routes := map[string]scmRoute{}
	for _, method := range []string{"GET", "POST"} {
		at := func(id ra.ID) string { return fmt.Sprintf("/api/ssl/v2/keystore/%d/p12", id) }
		routes[method+" /api/ssl/{v}/keystore/{sslId}/{formatType}"] = scmRoute{path: at(e.ID), absent: at(4711), writes: true}
	}
	return routes
}
