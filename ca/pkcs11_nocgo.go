//go:build !cgo || nopkcs11

package ca

import "errors"

// Without cgo no PKCS #11 module can be loaded; everything else works.

func openModule(*keyURI) (keyModule, error) {
	return nil, errors.New("this program was built without PKCS#11; build it with CGO_ENABLED=1, or use a key file")
}

func explainKey(_ string, err error) error { return err }

func sessionLost(error) bool { return false }

func generalError(error) bool { return false }

func pinRefused(error) bool { return false }
