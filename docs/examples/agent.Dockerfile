# Kontor's agent beside a shop. Not built by our CI (docs/operations.md); kept simple for that.
FROM python:3.12-slim

# Another package brings its own connector; kontor-sdk[ebay] what eBay needs.
ARG PACKAGE=kontor-sdk
RUN pip install --no-cache-dir "$PACKAGE" \
    && useradd --system --uid 10002 --create-home --home-dir /var/lib/kontor-agent kontor

USER kontor
ENV KONTOR_STATE=/var/lib/kontor-agent
VOLUME /var/lib/kontor-agent
CMD ["kontor", "run"]
