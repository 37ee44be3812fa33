"""TensorRT: rewriting the exported graph, building plans, running them.

The modules need NumPy, onnx, TensorRT and CUDA's bindings, but none of this project's other packages: they also run on
GPU machines that have nothing else.
"""
