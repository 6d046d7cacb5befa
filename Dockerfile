# The model server:  docker build -t vae-anomaly .
#                    docker run --rm -p 127.0.0.1:5001:5001 -v "$PWD/data.vae:/model.vae:ro" vae-anomaly
# With -e VAE_ANOMALY_TOKEN=... clients need that token.
FROM python:3.11-slim

COPY . /src
# With TORCH_INDEX set to an index of PyTorch's CPU builds, the GPU libraries (gigabytes) are not installed:
#     docker build --build-arg TORCH_INDEX=ADDRESS -t vae-anomaly .
ARG TORCH_INDEX
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && pip install --no-cache-dir "/src[mlflow]" \
    && rm -rf /src

RUN useradd --create-home server
USER server
WORKDIR /home/server
ENV MLFLOW_DISABLE_TELEMETRY=true

EXPOSE 5001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5001/health', timeout=4)"]
ENTRYPOINT ["vae-anomaly", "serve", "--host", "0.0.0.0"]
CMD ["/model.vae"]
