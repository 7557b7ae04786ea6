# The image of the bridge and of its controller. `thinbridge run` is a bridge; `make images` builds it.
#
# Any Python from 3.11 on does: docker build --build-arg PYTHON=3.12 .
ARG PYTHON=3.11

# What others wrote: it changes seldom, so it is a layer of its own, in an environment without pip.
FROM python:${PYTHON}-slim AS dependencies
RUN python3 -m venv --without-pip /opt/thinbridge
ENV PIP="python3 -m pip --python /opt/thinbridge/bin/python --no-cache-dir --disable-pip-version-check"
WORKDIR /src
COPY pyproject.toml LICENSE ./
COPY bridges/thinbridge/__init__.py bridges/thinbridge/
# The Kubernetes client comes twice, in some versions once for asyncio: 68 MB that nothing here imports.
RUN touch README.md \
    && $PIP install '.[cli,controller,oscore]' \
    && $PIP uninstall --quiet --yes thinbridge \
    && rm -rf /opt/thinbridge/lib/python3*/site-packages/kubernetes/aio

# thinbridge itself, 2 MB: what a new version of it transfers.
FROM dependencies AS build
COPY README.md .
COPY bridges bridges
COPY functions/thinbridge_functions functions/thinbridge_functions
COPY knative/thinbridge_knative knative/thinbridge_knative
RUN $PIP install --no-deps --prefix /opt/build .

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="thinbridge" \
      org.opencontainers.image.description="Bridges from CoAP, MQTT and UDP devices to Knative functions, and their controller" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=dependencies /opt/thinbridge /opt/thinbridge
COPY --from=build /opt/build /opt/thinbridge
# It writes nothing, so its root file system may be read-only; bytecode was compiled when it was installed.
ENV PATH="/opt/thinbridge/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it is not root; in passwd, or its group would be root's.
RUN echo 'thinbridge:x:65532:65532::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
USER 65532:65532
WORKDIR /
EXPOSE 1883/tcp 5683/udp 8090/tcp 9000/udp
ENTRYPOINT ["thinbridge"]
CMD ["run"]
