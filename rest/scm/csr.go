package scm

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// maxCSRText is the longest CSR that is read, in characters.
const maxCSRText = 32_767

// csrArmour are the lines around a CSR in PEM, whose line breaks a client may have lost.
var csrArmour = regexp.MustCompile(`^-----BEGIN (NEW )?CERTIFICATE REQUEST-----([^-]*)-----END (NEW )?CERTIFICATE REQUEST-----$`)

var errNoBase64 = errors.New("the CSR is no base64")

// readCSR reads the member "csr", in PEM or in base64 without its lines; nil if it is absent. The error may be about a member
// that was read before.
func readCSR(o *rest.Object) ([]byte, *policy.CSR, error) {
	text := strings.TrimSpace(o.Text("csr", maxCSRText))
	if err := o.Err(); err != nil || text == "" {
		return nil, nil, err
	}
	if m := csrArmour.FindStringSubmatch(text); m != nil {
		text = m[2]
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, nil, coded(http.StatusBadRequest, codeCSRText, problem.Wrap(errNoBase64, problem.BadCSR, "csr is not base64; send a PKCS #10 request in PEM, or what stands between its lines"))
	}
	csr, err := policy.ParseCSR(der)
	return der, csr, err
}
