//go:build cgo && !nopkcs11

package ca

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
	"go.step.sm/crypto/kms/apiv1"
	kmspkcs11 "go.step.sm/crypto/kms/pkcs11"
)

// openModule loads a PKCS #11 module and logs in to the token that the URI names. Errors are one line and say what to
// change; none holds the PIN.
func openModule(u *keyURI) (m keyModule, err error) {
	pin, err := u.pin()
	if err != nil {
		return nil, err
	}
	if filepath.IsAbs(u.modulePath) {
		if _, err := os.Stat(u.modulePath); err != nil {
			return nil, fmt.Errorf("the PKCS#11 module of module-path cannot be used: %w", err)
		}
	}
	defer func() {
		// The session pool panics on a token that offers a single session, of which one is kept for the login.
		if v := recover(); v != nil {
			m, err = nil, fmt.Errorf("the PKCS#11 module cannot be used: %v", v)
		}
	}()
	k, err := kmspkcs11.New(context.Background(), apiv1.Options{URI: u.token(), Pin: pin})
	if err != nil {
		return nil, explainOpen(u, err)
	}
	return k, nil
}

// explainOpen says what to do about a token that cannot be opened.
func explainOpen(u *keyURI, err error) error {
	code, _ := errors.AsType[pkcs11.Error](err)
	switch text := err.Error(); {
	case pinRefused(err) && u.pinSource == "":
		return fmt.Errorf("it wants a PIN; name one with pin-source: %w", err)
	case pinRefused(err):
		return fmt.Errorf("it refuses the PIN of pin-source=%s; correct it (tokens lock themselves after a few wrong ones): %w", u.pinSource, err)
	case code == pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED:
		return fmt.Errorf("its module is in use already; write module-path in the same way for all keys: %w", err)
	// The library has no values for these two.
	case strings.Contains(text, "could not open PKCS#11"):
		return fmt.Errorf("the PKCS#11 module %s cannot be loaded; name the library that came with the token with module-path", u.moduleName())
	case strings.Contains(text, "could not find PKCS#11 token"):
		return fmt.Errorf("the module %s has no such token; is it plugged in, and its name right (pkcs11-tool --module %s --list-token-slots)?",
			u.moduleName(), u.moduleName())
	}
	return err
}

// explainKey says what to do about a key that is not found.
func explainKey(name string, err error) error {
	if _, ok := errors.AsType[pkcs11.Error](err); !ok && strings.Contains(err.Error(), "not found") {
		return fmt.Errorf("it has no key pair %s; both halves must be there and have an ID (pkcs11-tool --login --list-objects), "+
			"and a token that hides its keys needs pin-source", name)
	}
	return fmt.Errorf("the key %s: %w", name, err)
}

// lostCodes are what modules say when a session, or a handle made in it, is no longer good: because the token or the
// module was taken away, restarted or initialised anew (PKCS #11 v2.40, 11.1). The two general ones are here because of modules
// that know no better; the price of a mistake is one more login.
var lostCodes = []pkcs11.Error{
	pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_ERROR,
	pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_USER_NOT_LOGGED_IN,
	pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_GENERAL_ERROR,
}

// sessionLost reports whether an error means that the token must be opened again.
func sessionLost(err error) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && slices.Contains(lostCodes, code)
}

// generalError reports whether an error is the one that modules have for everything else.
func generalError(err error) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && (code == pkcs11.CKR_GENERAL_ERROR || code == pkcs11.CKR_DEVICE_ERROR)
}

// pinCodes are what modules say when trying the same PIN again cannot help, and may lock the token.
var pinCodes = []pkcs11.Error{
	pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED,
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED,
}

// pinRefused reports whether an error is about the PIN.
func pinRefused(err error) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && slices.Contains(pinCodes, code)
}
