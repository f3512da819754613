package scm

import "testing"

func TestTypes(t *testing.T) {
	w := newWorld(t)
	w.golden("types", "ada", "GET", "/api/ssl/v2/types", "")
	w.golden("types-v1-slash", "olga", "GET", "/api/ssl/v1/types/?organizationId=2", "")
	w.golden("types-foreign-organisation", "ada", "GET", "/api/ssl/v2/types?organizationId=2", "")
	w.golden("types-no-organisation", "ada", "GET", "/api/ssl/v2/types?orgId=4711", "")
	w.golden("types-bad-organisation", "ada", "GET", "/api/ssl/v2/types?organizationId=x", "")
	w.golden("customfields", "rex", "GET", "/api/ssl/v2/customFields", "")
}
