# The image of Tidings: a release build, then a slim Debian with nothing but what it
# needs to run. Build with the commit it is made of:
#   docker build --build-arg TIDINGS_COMMIT="$(git rev-parse --short=12 HEAD)" -t tidings .

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends pkg-config libssl-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG TIDINGS_COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tidings \
 && install -D target/release/tidings /out/tidings

FROM debian:bookworm-slim
# curl is for the health check and for `docker exec`.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/tidings tidings \
 && install -d -o tidings -g tidings /var/lib/tidings/data
COPY --from=build /out/tidings /usr/local/bin/tidings
COPY LICENSE-MIT LICENSE-APACHE THIRD-PARTY.md /usr/share/doc/tidings/
USER tidings
WORKDIR /var/lib/tidings
# Another address than loopback needs TIDINGS_API_TOKEN or TIDINGS_API_TOKEN_FILE.
# What is freed goes back to the system at once (`tidings run` sets it for its
# own supervised process).
ENV TIDINGS_DATA_DIR=/var/lib/tidings/data \
    TIDINGS_LISTEN=0.0.0.0:8080 \
    MALLOC_TRIM_THRESHOLD_=131072 \
    MALLOC_ARENA_MAX=2 \
    MIMALLOC_PURGE_DELAY=0
VOLUME /var/lib/tidings/data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8080/livez"]
# Docker restarts what ends; the process's own supervisor is for machines without one.
ENTRYPOINT ["/usr/local/bin/tidings"]
CMD ["run", "--no-supervise"]
