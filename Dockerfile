# An image of chancery: the program, the C library that it is linked with, and nothing else; no shell, no root.
#
#   docker build -t registry.example.com/chancery:0.1.0 .
#
# Bases are named by tags, which get security fixes: pin their digests where your builds must be the same for ever.

FROM rust:1.95-slim-trixie AS build
# jemalloc is built with make and a C compiler; the image has the compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /chancery
COPY Cargo.toml Cargo.lock ./
COPY proto proto
COPY src src
RUN cargo build --locked --release --bin chancery

# Of the same Debian as the image above, so that the C library is not an older one.
FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="chancery" \
      org.opencontainers.image.description="An xDS control plane for Envoy sidecars whose cost follows the change" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /chancery/target/release/chancery /usr/local/bin/chancery
# The user of the manifests, as a number, so that a node can see that it is not root.
USER 65532:65532
EXPOSE 15012 15014 15016
ENTRYPOINT ["/usr/local/bin/chancery"]
