# docker build -t genrobust .                                   CPU
# docker build -t genrobust --build-arg TORCH=cu130 .           NVIDIA GPUs: a CUDA version of https://pytorch.org/get-started
# docker run --rm -v "$PWD:/work" genrobust run pictograms      add --gpus all for GPUs
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
RUN python -m venv /opt/genrobust
ENV PATH=/opt/genrobust/bin:$PATH
RUN pip install --no-cache-dir --index-url "https://download.pytorch.org/whl/${TORCH}" "torch>=2.6" "torchvision>=0.21"
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir .

FROM python:${PYTHON}-slim
RUN useradd --uid 1000 --create-home --home-dir /work genrobust
COPY --from=build /opt/genrobust /opt/genrobust
# for any --user: downloads are kept in the mounted folder, and PyTorch asks for a name
ENV PATH=/opt/genrobust/bin:$PATH HOME=/work USER=genrobust
USER 1000
WORKDIR /work
ENTRYPOINT ["genrobust"]
CMD ["--help"]
