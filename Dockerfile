# The container of `hieno serve`: one model, no keys, for a gateway or an Azure endpoint in front.
#
#   docker build -t hieno .                                                   the model is mounted
#   docker build -t my-model --target baked --build-context model=PACKAGE .   the model is inside
#   docker run --rm -p 127.0.0.1:5001:5001 -v PACKAGE:/model:ro hieno
#
# For a build that can be repeated to the byte, name the base by its digest:
#   --build-arg BASE=python@sha256:...
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM ${BASE} AS served
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheel /tmp/wheel
# The pins of this project, and of torch the build without CUDA.
RUN pip install --constraint /tmp/constraints.txt uv \
    && uv pip install --system --no-cache --torch-backend cpu \
        --constraint /tmp/constraints.txt /tmp/wheel/*.whl \
    && rm -r /tmp/wheel /tmp/constraints.txt \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin hieno
# Nothing is ever fetched, and nothing but /tmp is written.
ENV HOME=/tmp \
    HIENO_HOME=/tmp/hieno \
    HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 5001
# A large model may load for minutes; only then do failures count.
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5001/', timeout=4)"]
STOPSIGNAL SIGTERM
# Without a folder it serves what is mounted at /model, or where Azure has put the model.
ENTRYPOINT ["python", "-X", "utf8", "-m", "hieno.serve", "--host", "0.0.0.0", "--port", "5001"]

FROM served AS baked
# hadolint ignore=DL3022  # a build context that the command names
COPY --from=model . /model

# The last stage is what a plain build makes.
FROM served AS mounted
VOLUME ["/model"]
