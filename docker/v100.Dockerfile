# pss-det for V100 and newer GPUs: TensorRT 10.4, the last that knows V100, on Python 3.12; driver 525 or later.
#
#   docker build --file docker/v100.Dockerfile --tag pssdet:v100 .
#
# Not built by anybody yet: docker/README.md says what of it was tried.

# The plugin library, by CUDA 12: 13 no longer compiles for V100.
FROM nvidia/cuda:12.4.1-devel-ubuntu22.04 AS plugins
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git python3-pip \
 && rm -rf /var/lib/apt/lists/* \
 && pip install --no-cache-dir cmake==3.31.6
WORKDIR /source
COPY Makefile ./
RUN make build/tensorrt/v10.4.0/include/NvInfer.h \
 && test "$(git -C build/tensorrt/v10.4.0 rev-parse HEAD)" = 866548c95c6d7113a4c5f6a440022b2d216c04cf
COPY CMakeLists.txt ./
COPY cmake/ cmake/
COPY plugins/ plugins/
RUN cmake -S . -B build/cmake -DTensorRT_ROOT=/source/build/tensorrt/v10.4.0 -DBUILD_TESTING=OFF \
 && cmake --build build/cmake --parallel "$(nproc)" --target pssdet_kernels pssdet_plugins

# The Python packages, every version of them given.
FROM python:3.12.11-slim-bookworm AS packages
WORKDIR /source
RUN python -m venv /opt/pssdet
# TensorRT's package then has its libraries installed by this pip, in the version given, and not by one of its own.
ENV NVIDIA_TENSORRT_DISABLE_INTERNAL_PIP=1 \
    PATH=/opt/pssdet/bin:$PATH
COPY docker/requirements/ docker/requirements/
RUN pip install --no-cache-dir --requirement docker/requirements/build.txt \
 && pip install --no-cache-dir --no-build-isolation --requirement docker/requirements/v100.txt
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
