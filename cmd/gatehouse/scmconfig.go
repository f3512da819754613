package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scmConfig is about the door for programs that were written for SCM (docs/dialects/scm.md).
type scmConfig struct {
	// Processing is what such a program is told when it collects a certificate that is not issued yet. Some compare it whole, others
	// look for "process". 1 to 200 characters. Default: Being processed by Sectigo.
	Processing string `yaml:"processing"`
}

// maxProcessing is how long that may be, in characters.
const maxProcessing = 200

// scm checks it.
func (c *fileConfig) scm() (scmConfig, error) {
	p := c.SCM.Processing
	if !utf8.ValidString(p) || utf8.RuneCountInString(p) > maxProcessing || strings.ContainsFunc(p, unicode.IsControl) || p != strings.TrimSpace(p) {
		return scmConfig{}, c.source.at("scm.processing", fmt.Errorf("processing: %.40q is not one line of at most %d characters without blanks around it; give for example Being processed by Example CA", p, maxProcessing))
	}
	return c.SCM, nil
}
