"""OpenVINO: exported models as its IR, run on a CPU, and what its kernels were."""
