# The gateway as an image: one static program without a shell, a package manager or root.
#
#   docker build --tag gatehouse .
#
# It is built without cgo, so it loads no PKCS#11 module: such a module is a shared library with demands of its own on the
# system around it. Where keys are on a token, run the gateway as deploy/gatehouse.service does.

FROM golang:1.26.4 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git: from it comes the revision that "gatehouse version" prints and that the journal records.
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/gatehouse ./cmd/gatehouse
# A new volume takes over the owner of the folder it is mounted on, and the final image has nothing to make folders with.
RUN mkdir /out/etc /out/data

FROM scratch
LABEL org.opencontainers.image.title="Gatehouse" \
      org.opencontainers.image.description="A certificate authority gateway: ACME in front of an internal CA" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/gatehouse /usr/bin/gatehouse
COPY --from=build --chown=65532:65532 /out/etc /etc/gatehouse
COPY --from=build --chown=65532:65532 /out/data /var/lib/gatehouse
USER 65532:65532
# Where the commands (docker exec … /usr/bin/gatehouse cert list) find the gateway, and whom the health check asks. Change
# the second where http.listen is another port.
ENV GATEHOUSE_DATA=/var/lib/gatehouse \
    GATEHOUSE_HEALTH_URL=http://127.0.0.1:8080/readyz
# The journal is here: never run a gateway whose data folder goes away with its container.
VOLUME /var/lib/gatehouse
EXPOSE 8443 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/gatehouse", "health"]
ENTRYPOINT ["/usr/bin/gatehouse"]
CMD ["serve", "--config", "/etc/gatehouse/gatehouse.yaml"]
