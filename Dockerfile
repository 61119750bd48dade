# Builds an image of the server, an image of the operator, and an image that replaces etcd's image. All of them contain
# programs of Witan, which is compatible with etcd. The last image also contains etcd's own etcdctl. The name and the paths of
# this image are etcd's, because manifests expect them.
#
#   docker build --target server --tag ghcr.io/witan/witan:0.1.0 .
#   docker build --target operator --tag ghcr.io/witan/witan-operator:0.1.0 .
#   docker build --target etcd --tag ghcr.io/witan/etcd:3.7.3-witan.0.1.0 .
#
# Dependencies are compiled in a separate layer, which is rebuilt only if Cargo.lock or a Cargo.toml changes. A release replaces
# the stages `build`, `notices` and `etcdctl` with the programs in its archives (`--build-context`).

# the version in rust-toolchain.toml
FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS chef
ENV CARGO_NET_RETRY=5 CARGO_TERM_COLOR=never RUSTUP_TOOLCHAIN=1.95.0
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /src

# lists the dependencies from the manifests, without the sources
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --locked --release --package witan --package witan-operator --recipe-path recipe.json
COPY . .
RUN cargo build --locked --release --package witan --package witan-operator --bin witan --bin witan-operator \
    && install -D --strip --target-directory /out/programs target/release/witan target/release/witan-operator \
    && deploy/image /out/programs /out

# the licenses of the crates in both programs
FROM chef AS notices
RUN cargo install --locked --version 0.9.1 --features cli cargo-about
COPY . .
RUN mkdir -p /out/notices \
    && deploy/notices witan >/out/notices/witan \
    && deploy/notices witan-operator >/out/notices/witan-operator

# etcd's own etcdctl, from the etcd release that Witan is compatible with
FROM golang:1.26-bookworm@sha256:b305420a68d0f229d91eb3b3ed9e519fcf2cf5461da4bef997bf927e8c0bfd2b AS etcdctl
WORKDIR /src/tests/tools/etcd37
COPY tests/tools/etcd37/go.mod tests/tools/etcd37/go.sum ./
COPY deploy/notices /src/deploy/notices
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/etcdctl go.etcd.io/etcd/etcdctl/v3 && mkdir -p /out/notices && ../../../deploy/notices etcdctl >/out/notices/etcdctl

# only glibc and CA certificates; no shell and no package manager
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f AS base
COPY LICENSE /usr/share/doc/witan/LICENSE
USER 65532:65532

FROM base AS operator
LABEL org.opencontainers.image.title="witan-operator" \
      org.opencontainers.image.description="The operator of Witan, compatible with etcd, on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/witan-operator /usr/local/bin/witan-operator
COPY --from=notices /out/notices/witan-operator /usr/share/doc/witan/THIRD-PARTY-NOTICES.txt
# 8080 serves /metrics; 8081 serves /healthz and /readyz
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/witan-operator"]

# This image has the program paths, the user and the command of etcd's image, so that it works in manifests for etcd's image.
FROM base AS etcd
LABEL org.opencontainers.image.title="witan" \
      org.opencontainers.image.description="Witan, compatible with etcd, with the paths of etcd's image" \
      org.opencontainers.image.licenses="Apache-2.0"
# in etcd's image, root owns the data directory
# hadolint ignore=DL3002
USER 0:0
COPY --from=build /out/etcd /
COPY --from=etcdctl /out/etcdctl /usr/local/bin/etcdctl
COPY --from=notices /out/notices/witan /usr/share/doc/witan/THIRD-PARTY-NOTICES.txt
COPY --from=etcdctl /out/notices/etcdctl /usr/share/doc/witan/THIRD-PARTY-NOTICES-etcdctl.txt
WORKDIR /var/lib/etcd
EXPOSE 2379 2380
CMD ["/usr/local/bin/etcd"]

# the last stage is the default target
FROM base AS server
LABEL org.opencontainers.image.title="witan" \
      org.opencontainers.image.description="Witan, compatible with etcd: a distributed key-value store" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/witan /usr/local/bin/witan
COPY --from=notices /out/notices/witan /usr/share/doc/witan/THIRD-PARTY-NOTICES.txt
# The only directory that the server writes to, so the root file system can be read-only. A new volume inherits its owner.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
# 2379 for clients, 2380 for members, 2381 for metrics and health checks
EXPOSE 2379 2380 2381
ENTRYPOINT ["/usr/local/bin/witan"]
