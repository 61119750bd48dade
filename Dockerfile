# The images of both programs, one target each, and one that takes the place of etcd's image:
#
#   docker build --target server --tag ghcr.io/witan/witan:0.1.0 .
#   docker build --target operator --tag ghcr.io/witan/witan-operator:0.1.0 .
#   docker build --target etcd --tag ghcr.io/witan/etcd:3.7.3-witan.0.1.0 .
#
# Dependencies are compiled in a layer of their own, which only a change of Cargo.lock or of a Cargo.toml makes anew.

# the version of rust-toolchain.toml
FROM rust:1.95.0-bookworm AS chef
ENV CARGO_NET_RETRY=5 CARGO_TERM_COLOR=never RUSTUP_TOOLCHAIN=1.95.0
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /src

# what the dependencies are: the manifests, without our sources
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --locked --release --package witan --package witan-operator --recipe-path recipe.json
COPY . .
RUN cargo build --locked --release --package witan --package witan-operator --bin witan --bin witan-operator \
    && install -D --strip target/release/witan /out/witan \
    && install -D --strip target/release/witan-operator /out/witan-operator \
    && install -d /out/data /out/etcd/usr/bin /out/etcd/usr/local/bin /out/etcd/var/lib/etcd \
    && ln /out/witan /out/etcd/usr/local/bin/etcd \
    && ln -s etcd /out/etcd/usr/local/bin/etcdutl \
    && ln -s ../local/bin/etcd ../local/bin/etcdctl ../local/bin/etcdutl /out/etcd/usr/bin

# etcdctl is etcd's own, of the release whose level is served
FROM golang:1.26-bookworm AS etcdctl
WORKDIR /src
COPY tests/tools/etcd37/go.mod tests/tools/etcd37/go.sum ./
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/etcdctl go.etcd.io/etcd/etcdctl/v3

# glibc, authorities of certificates and nothing else: no shell, no package manager
FROM gcr.io/distroless/cc-debian12:nonroot AS base
COPY LICENSE /usr/share/doc/witan/LICENSE
USER 65532:65532

FROM base AS operator
LABEL org.opencontainers.image.title="witan-operator" \
      org.opencontainers.image.description="Runs etcd-compatible Witan clusters on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/witan-operator /usr/local/bin/witan-operator
# /metrics; /healthz and /readyz
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/witan-operator"]

# The paths of the programs, the user and the command are those of etcd's image, so that manifests which name an image of
# etcd take this one.
FROM base AS etcd
LABEL org.opencontainers.image.title="etcd" \
      org.opencontainers.image.description="Witan in the place of etcd: a key-value store that speaks etcd" \
      org.opencontainers.image.licenses="Apache-2.0"
# a data directory of etcd's image belongs to root
# hadolint ignore=DL3002
USER 0:0
COPY --from=build /out/etcd /
COPY --from=etcdctl /out/etcdctl /usr/local/bin/etcdctl
WORKDIR /var/lib/etcd
EXPOSE 2379 2380
CMD ["/usr/local/bin/etcd"]

# the last target is what a build without --target makes
FROM base AS server
LABEL org.opencontainers.image.title="witan" \
      org.opencontainers.image.description="A key-value store that speaks etcd" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/witan /usr/local/bin/witan
# The only folder that is written, so the root file system may be read-only. A new volume takes its owner over.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
# clients, members, metrics
EXPOSE 2379 2380 2381
ENTRYPOINT ["/usr/local/bin/witan"]
