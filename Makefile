# What a contributor runs. Everything here works from a clean checkout on Debian 12 with Go 1.26 and root (for apt-get
# and for mounting the small file systems that the disk-full tests fill).

# Debian packages by the program that shows they are there.
PROGRAMS := certbot:certbot openssl:openssl softhsm2-util:softhsm2
REQUIRED := certbot,openssl,softhsm2,tmpfs
FUZZTIME ?= 10m
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@latest

.PHONY: build test short bench lint fuzz vuln programs

build:
	go build -trimpath -o bin/gatehouse ./cmd/gatehouse

# programs installs what the tests drive from outside.
programs:
	@for p in $(PROGRAMS); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

# test runs everything, with the race detector. It skips the tests of storage/redis that start servers, and nothing else.
test: programs
	go vet ./...
	GATEHOUSE_TEST_REQUIRE=$(REQUIRED) go test -race -timeout 20m ./...

# short needs nothing installed.
short:
	go test ./...

# bench compares the gateway with a stateless floor in one run; docs/performance.md holds figures.
bench:
	go run ./cmd/gatehouse bench

lint:
	go vet ./...
	go run $(STATICCHECK) ./...
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-clean:"; gofmt -l .; exit 1; }

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	@grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		grep -ho '^func Fuzz[A-Za-z0-9]*' $$dir/*_test.go | cut -c6- | while read -r target; do \
			echo "== $$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done || exit 1; \
	done

vuln:
	go run $(GOVULNCHECK) ./...
