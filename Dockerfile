# The server with the viseme engine, on any CPU: docs/deploying.md, "In containers".
#
#     docker build -t talking-avatar .
#     docker run --init -p 127.0.0.1:8000:8000 -v avatar:/srv/avatar/var talking-avatar

ARG PYTHON=3.13

FROM docker.io/library/python:${PYTHON}-slim AS packages
WORKDIR /srv/avatar
COPY requirements-core.txt ./
RUN python3 -m venv .venv \
    && .venv/bin/pip install -qq --no-cache-dir --disable-pip-version-check -r requirements-core.txt

FROM docker.io/library/python:${PYTHON}-slim
WORKDIR /srv/avatar
RUN useradd --system --uid 990 --home-dir /srv/avatar --shell /usr/sbin/nologin avatar \
    && install -d -o avatar -g avatar var
COPY --from=packages /srv/avatar/.venv .venv
COPY LICENSE NOTICE manage.py requirements*.txt ./
COPY templates templates
COPY clients clients
COPY musetalk_site musetalk_site
COPY streaming streaming
COPY avatars_app avatars_app
COPY inference inference
# `load_test` is one of them.
COPY benchmarks benchmarks
# The account that runs it can write to the volume alone, so bytecode is made here.
RUN .venv/bin/python -m compileall -qq avatars_app benchmarks clients inference musetalk_site streaming
USER avatar
# Uploads wait on the disk, beside the place that they go to.
ENV PORT=8000 TMPDIR=/srv/avatar/var/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /srv/avatar/var
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD \
    [".venv/bin/python", "-c", "import os, urllib.request as u; \
u.urlopen('http://localhost:' + os.environ['PORT'] + '/livez', timeout=4)"]
# `exec` puts the command in the shell's place: signals reach it.
ENTRYPOINT ["sh", "-c", "mkdir -p var/tmp && .venv/bin/python manage.py migrate --verbosity 0 && exec .venv/bin/python manage.py \"$@\"", "manage.py"]
CMD ["serve"]
