package scm

import (
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/rest"
)

// api is one of the vendor's APIs. All that is built of it has the same paths in each of its versions.
type api struct {
	path     string   // that all of its paths begin with
	versions []string // the next segment
	routes   []rest.Route[handler]
}

// apis are all that is built.
func apis() []api {
	return []api{
		{"/api/ssl", []string{"v1", "v2"}, sslRoutes()},
		{"/api/report", []string{"v1"}, reportRoutes()},
		{"/api/organization", []string{"v1"}, organizationRoutes()},
		{"/api/customField", []string{"v2"}, customFieldRoutes()},
		{"/api/domain", []string{"v1"}, domainRoutes()},
		{"/api/dcv", []string{"v1", "v2"}, dcvRoutes()},
		{"/api/acme", []string{"v1", "v2"}, acmeRoutes()},
	}
}

// endpoint is a route of one version of an API.
type endpoint struct {
	handle  handler
	version string
	name    string // for metrics: "scm/GET/api/ssl/{v}/{sslId}", the same in all versions
}

// endpoints are the routes of all versions.
func endpoints(apis []api) (list []rest.Route[endpoint]) {
	for _, a := range apis {
		for _, version := range a.versions {
			for _, r := range a.routes {
				pattern := strings.TrimSuffix(r.Pattern, "/")
				list = append(list, rest.Route[endpoint]{Method: r.Method, Pattern: a.path + "/" + version + pattern, Handle: endpoint{
					handle: r.Handle, version: version, name: "scm/" + r.Method + a.path + "/{v}" + pattern,
				}})
			}
		}
	}
	return list
}

// Paths are the subtrees, and the one path, that a Server is to be mounted at.
func Paths() []string {
	list := []string{TokenPath}
	for _, a := range apis() {
		list = append(list, a.path+"/", PrivatePath+a.path+"/")
	}
	return list
}

// Routes are all that there is as "METHOD /api/ssl/{v}/…", where {v} is any version that the API has, and the one for tokens. All but
// that one are below [PrivatePath] as well.
func Routes() []string {
	list := []string{http.MethodPost + " " + TokenPath}
	for _, a := range apis() {
		for _, r := range a.routes {
			list = append(list, r.Method+" "+a.path+"/{v}"+strings.TrimSuffix(r.Pattern, "/"))
		}
	}
	return list
}

// sslRoutes are of certificates, of v1 and v2 alike.
func sslRoutes() []rest.Route[handler] {
	return []rest.Route[handler]{
		{Method: http.MethodGet, Pattern: "/types", Handle: (*Server).types},
		{Method: http.MethodGet, Pattern: "/customFields", Handle: (*Server).customFields},
		{Method: http.MethodGet, Pattern: "/", Handle: (*Server).list},
		{Method: http.MethodHead, Pattern: "/", Handle: (*Server).count},
		{Method: http.MethodGet, Pattern: "/{sslId}", Handle: (*Server).details},
		{Method: http.MethodDelete, Pattern: "/{sslId}", Handle: (*Server).remove},
		{Method: http.MethodPost, Pattern: "/revoke/{id}", Handle: (*Server).revokeByID},
		{Method: http.MethodPost, Pattern: "/revoke/serial/{serialNumber}", Handle: (*Server).revokeBySerial},
		{Method: http.MethodPost, Pattern: "/revoke/manual", Handle: (*Server).revokeManual},
		{Method: http.MethodGet, Pattern: "/{sslId}/location", Handle: (*Server).locations},
		{Method: http.MethodPost, Pattern: "/{sslId}/location", Handle: (*Server).addLocation},
		{Method: http.MethodGet, Pattern: "/{sslId}/location/{locationId}", Handle: (*Server).location},
		{Method: http.MethodPut, Pattern: "/{sslId}/location/{locationId}", Handle: (*Server).setLocation},
		{Method: http.MethodDelete, Pattern: "/{sslId}/location/{locationId}", Handle: (*Server).removeLocation},
		{Method: http.MethodPost, Pattern: "/enroll", Handle: (*Server).enroll},
		{Method: http.MethodPost, Pattern: "/enroll-keygen", Handle: (*Server).enrollKeygen},
		{Method: http.MethodPost, Pattern: "/approve/{id}", Handle: (*Server).approve},
		{Method: http.MethodPost, Pattern: "/decline/{id}", Handle: (*Server).decline},
		{Method: http.MethodPost, Pattern: "/renewById/{sslId}", Handle: (*Server).renewByID},
		{Method: http.MethodPost, Pattern: "/renew/{renewId}", Handle: (*Server).renew},
		{Method: http.MethodPost, Pattern: "/renew/manual/{id}", Handle: (*Server).renewManual},
		{Method: http.MethodPost, Pattern: "/replace/{sslId}", Handle: (*Server).replace},
		{Method: http.MethodGet, Pattern: "/collect/{sslId}", Handle: (*Server).collect},
		{Method: http.MethodGet, Pattern: "/collect/{sslId}/{format}", Handle: (*Server).collect},
		{Method: http.MethodPost, Pattern: "/keystore/{sslId}/{formatType}", Handle: (*Server).keystore},
		{Method: http.MethodGet, Pattern: "/keystore/{sslId}/{formatType}", Handle: (*Server).keystore}, // of older clients
		{Method: http.MethodPost, Pattern: "/import", Handle: (*Server).importAll},
		{Method: http.MethodPut, Pattern: "/", Handle: (*Server).update},
		{Method: http.MethodGet, Pattern: "/{sslId}/dcv", Handle: (*Server).dcv},
		{Method: http.MethodPost, Pattern: "/{sslId}/dcv/recheck", Handle: (*Server).recheck},
	}
}
