package scm

import (
	"net/http"

	"github.com/gatehouse-ca/gatehouse/rest"
)

// routes are all that is built, below /api/ssl/v1 and /api/ssl/v2 alike.
func routes() []rest.Route[handler] {
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
		{Method: http.MethodPost, Pattern: "/import", Handle: (*Server).importAll},
		{Method: http.MethodPut, Pattern: "/", Handle: (*Server).update},
		{Method: http.MethodGet, Pattern: "/{sslId}/dcv", Handle: (*Server).dcv},
		{Method: http.MethodPost, Pattern: "/{sslId}/dcv/recheck", Handle: (*Server).recheck},
	}
}
