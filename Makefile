# What a contributor runs. Everything here works from a clean checkout on Debian 12 with Go 1.26 and root (for apt-get
# for mounting the small file systems that the disk-full tests fill, and for the namespaces of deploy's containers).

# Debian packages by the program that shows they are there.
PROGRAMS := certbot:certbot openssl:openssl softhsm2-util:softhsm2 redis-server:redis-server haproxy:haproxy \
	docker-compose:docker-compose systemd-analyze:systemd ip:iproute2 chromium:chromium
REQUIRED := certbot,openssl,softhsm2,tmpfs,redis-server,haproxy,docker-compose,systemd-analyze,netns,chromium
FUZZTIME ?= 10m
CHAOS_ROUNDS ?= 100
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@latest

.PHONY: build test short conformance chaos bench bench-lists lint fuzz vuln programs

build:
	go build -trimpath -o bin/gatehouse ./cmd/gatehouse

# programs installs what the tests drive from outside.
programs:
	@for p in $(PROGRAMS); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

# test runs everything, with the race detector. What it skips is rows of the engines' suite that a test engine has no way to try.
test: programs
	go vet ./...
	GATEHOUSE_TEST_REQUIRE=$(REQUIRED) go test -race -timeout 25m ./...

# short needs nothing installed.
short:
	go test ./...

# conformance writes docs/conformance.md from the tables of package conformance, then holds the gateway to them.
conformance:
	go test ./conformance -run '^TestDocument$$' -update
	go test -race ./conformance

# chaos lets CHAOS_ROUNDS things happen to gateways on Redis, Sentinel and Cluster under load; CONTRIBUTING.md says how to
# repeat what it found.
chaos: programs
	GATEHOUSE_TEST_REQUIRE=$(REQUIRED) GATEHOUSE_CHAOS_ROUNDS=$(CHAOS_ROUNDS) go test -race -count 1 -timeout 3h -v -run '^TestChaos$$' ./cmd/gatehouse

# bench compares gateways, on the embedded store and, where redis-server is installed, on Redis, with a stateless floor in one
# run; docs/performance.md holds figures.
bench:
	go run ./cmd/gatehouse bench --redis

# bench-lists fills an embedded store, and a Redis where redis-server is installed, with LISTED enrollments each, and measures
# lists. A million take some minutes, 4 GB of disk and 3 GB of memory in all.
LISTED ?= 1000000
BENCH_PORT ?= 16379
bench-lists:
	@set -e; dir=$$(mktemp -d); server=; \
	trap '[ -z "$$server" ] || { kill $$server || true; wait $$server || true; }; rm -rf "$$dir"' EXIT; \
	go build -o $$dir/gatehouse ./cmd/gatehouse; \
	$$dir/gatehouse bench load --store $$dir/store $(LISTED) --measure; \
	$$dir/gatehouse bench door --store $$dir/store; \
	if command -v redis-server >/dev/null; then \
		redis-server --bind 127.0.0.1 --port $(BENCH_PORT) --dir $$dir --save "" --appendonly yes --appendfsync always >$$dir/redis.log & server=$$!; \
		until redis-cli -p $(BENCH_PORT) ping >/dev/null 2>&1; do kill -0 $$server; sleep 0.1; done; \
		$$dir/gatehouse bench load --redis 127.0.0.1:$(BENCH_PORT) $(LISTED) --measure; \
		$$dir/gatehouse bench door --redis 127.0.0.1:$(BENCH_PORT); \
	else \
		echo "redis-server is not installed, so nothing is measured on Redis"; \
	fi

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
