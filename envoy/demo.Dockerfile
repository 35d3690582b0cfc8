# The demo's identity provider and MCP server, for docker-compose.yaml.
FROM rust:1.95-bookworm AS build
WORKDIR /repository
COPY . .
RUN cargo build --locked --package testbed --bin demo

FROM debian:bookworm-slim
COPY --from=build /repository/target/debug/demo /usr/local/bin/demo
USER nobody
ENTRYPOINT ["demo"]
