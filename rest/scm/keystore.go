package scm

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// maxPassphrase is how long a passphrase may be, in characters.
const maxPassphrase = 32

// keystoreForms is the table of SCM's names for files with a private key. All of them are encrypted.
var keystoreForms = []struct {
	name   string
	format bundle.Format
}{
	{"key", bundle.EncryptedKey}, {"p12", bundle.PKCS12}, {"p12aes", bundle.PKCS12}, {"jks", bundle.JKS}, {"pem", bundle.PEMEncryptedKey},
}

// keystoreForm finds a format by its name, in any letter case.
func keystoreForm(name string) (bundle.Format, error) {
	var known []string
	for _, f := range keystoreForms {
		if strings.EqualFold(f.name, name) {
			return f.format, nil
		}
		known = append(known, f.name)
	}
	return 0, coded(http.StatusBadRequest, codeFormat, problem.New(problem.Malformed, "formatType: there is no format %s; give %s", quoted(name), strings.Join(known, ", ")))
}

// keystoreLink is where a private key can be downloaded, once.
type keystoreLink struct {
	Link string `json:"link"`
}

// keystore makes a link by which a private key that is kept here can be downloaded. With a passphrase the file is encrypted under
// that; otherwise whoever takes it chooses. A GET, which has no body, makes one as well.
func (s *Server) keystore(c *call) error {
	format, err := keystoreForm(c.args["formatType"])
	if err != nil {
		return err
	}
	_, e, err := c.current("sslId")
	if err != nil {
		return err
	}
	offer, err := s.Offer(format)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodPost {
		o, err := c.optionalBody()
		if err != nil {
			return err
		}
		if offer.Password, err = passphrase(o, format); err != nil {
			return err
		}
	}
	secret, _, err := s.Registrar.OfferDownload(c.ctx, c.caller, e.ID, offer)
	if errors.Is(err, ra.ErrNoKeyKept) {
		return coded(http.StatusBadRequest, codeNotAvailable, err)
	}
	if err != nil {
		return err
	}
	return c.answer(keystoreLink{s.PublicURL + s.DownloadPath + secret})
}

// passphrase reads what a file is to be encrypted under; empty if that is not said.
func passphrase(o *rest.Object, f bundle.Format) (string, error) {
	text := o.Text("passphrase", maxPassphrase)
	if text != "" {
		if err := bundle.CheckPassword(f, []byte(text)); err != nil {
			_, why, _ := strings.Cut(problem.From(err).Detail, ": ")
			o.Refuse("passphrase", "%s", why)
		}
	}
	return text, o.Err()
}
