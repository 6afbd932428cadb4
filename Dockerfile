# The server, without the demo. Not built by our CI (docs/operations.md); kept simple for that.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/kontor/bin:$PATH
WORKDIR /app

# What changes rarely first, so that a change of the code installs nothing anew.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tools/setup.py tools/setup.py
COPY plugin_sdk plugin_sdk
COPY connectors connectors
RUN python tools/setup.py /opt/kontor server

COPY server server

RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kontor kontor
USER kontor
ENV KONTOR_VAR=/var/lib/kontor KONTOR_BIND=0.0.0.0:8000
EXPOSE 8000
CMD ["python", "-m", "server", "web"]
