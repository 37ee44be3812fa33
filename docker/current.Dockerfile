# pss-det for Turing and newer GPUs: TensorRT 11.4 on Python 3.12; driver 580 or later.
#
#   docker build --file docker/current.Dockerfile --tag pssdet:current .
#
# Not built by anybody yet: docker/README.md says what of it was tried.

# The plugin library, from the newest public headers of TensorRT 11: a library serves the whole major version.
FROM nvidia/cuda:13.0.1-devel-ubuntu22.04 AS plugins
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git python3-pip \
 && rm -rf /var/lib/apt/lists/* \
 && pip install --no-cache-dir cmake==3.31.6
WORKDIR /source
COPY Makefile ./
RUN make build/tensorrt/v11.1/include/NvInfer.h \
 && test "$(git -C build/tensorrt/v11.1 rev-parse HEAD)" = 82d1dca801c8318a5605399d5240780d0679e4e1
COPY CMakeLists.txt ./
COPY cmake/ cmake/
COPY plugins/ plugins/
RUN cmake -S . -B build/cmake -DTensorRT_ROOT=/source/build/tensorrt/v11.1 -DBUILD_TESTING=OFF \
 && cmake --build build/cmake --parallel "$(nproc)" --target pssdet_kernels pssdet_plugins

# The Python packages, every version of them given.
FROM python:3.12.11-slim-bookworm AS packages
WORKDIR /source
RUN python -m venv /opt/pssdet
ENV PATH=/opt/pssdet/bin:$PATH
COPY docker/requirements/ docker/requirements/
RUN pip install --no-cache-dir --requirement docker/requirements/build.txt \
 && pip install --no-cache-dir --no-build-isolation --requirement docker/requirements/current.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
 && pip check

# What runs. The driver's libraries are the host's: the NVIDIA Container Toolkit brings them in (--gpus all).
FROM python:3.12.11-slim-bookworm
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/pssdet/bin:$PATH \
    PSSDET_CACHE=/cache \
    PSSDET_KERNELS=/opt/pssdet/lib/libpssdet_kernels.so \
    PSSDET_PLUGINS=/opt/pssdet/lib/libpssdet_plugins.so
COPY --from=packages /opt/pssdet/ /opt/pssdet/
COPY --from=plugins /source/build/cmake/lib/ /opt/pssdet/lib/
# Any user may write there: docker run --user.
RUN install --directory --mode=1777 /cache /data
WORKDIR /data
USER 1000:1000
ENTRYPOINT ["pssdet"]
CMD ["--help"]
