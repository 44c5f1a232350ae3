# A Gyre node: `npm ci`, then `gyre start` as an unprivileged user with its data in one volume. The same commands as in README.md.
# Build and run: docker build -t gyre . && docker run -v gyre-data:/data gyre
# A network of eight on this machine: docker compose up --build
FROM node:24.21.0-bookworm-slim

ENV NODE_ENV=production
WORKDIR /gyre

# Dependencies first: they change seldom, and their layer is kept.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

COPY LICENSE ./
COPY src ./src
COPY relay ./relay
COPY client ./client

# The node writes here and nowhere else, so that the rest may be mounted read-only. New volumes take over owner and mode.
RUN install -d -o node -g node -m 0700 /data && install -d -o node -g node -m 0755 /addresses
USER node
VOLUME /data

# Links are for everybody. The faces are for this container only unless a published port and GYRE_API, GYRE_PROXY say otherwise.
ENV GYRE_DATA_DIR=/data \
    GYRE_LISTEN=/ip4/0.0.0.0/tcp/9740 \
    GYRE_API=127.0.0.1:9770 \
    GYRE_PROXY=127.0.0.1:9780
EXPOSE 9740

# Healthy: the node has neighbours and a loop is ready. Needs no token. A node that is alone never is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.GYRE_API.split(':').pop()}/v1/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--max-semi-space-size=4", "client/cli/main.ts"]
CMD ["start"]
