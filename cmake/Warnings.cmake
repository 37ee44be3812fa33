# The target pssdet_warnings: linking to it turns warnings on. CMAKE_COMPILE_WARNING_AS_ERROR makes them errors.
add_library(pssdet_warnings INTERFACE)
# A C++ compiler does not know "#pragma unroll", which is nvcc's.
set(cxx_warnings -Wall -Wextra -Wno-unknown-pragmas)
target_compile_options(
  pssdet_warnings
  INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${cxx_warnings}>"
            "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;-Wno-deprecated-gpu-targets>")
