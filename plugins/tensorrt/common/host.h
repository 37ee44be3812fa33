// The TensorRT that loaded this library, or that is loaded beside it. It is looked up at run time, never linked: the same file
// serves libnvinfer, the lean runtime and engines that carry their plugins, and loads where there is no TensorRT at all.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#if NV_TENSORRT_MAJOR > 8 || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 6)
#define PSSDET_HAS_LOGGER_FINDER 1
#else
#define PSSDET_HAS_LOGGER_FINDER 0
#endif

namespace pssdet::tensorrt {

// The process-wide registry of the loaded TensorRT; null if there is none, or if it is not of the version that this library was
// compiled for (from 10 on: of the major version).
nvinfer1::IPluginRegistry* process_registry();

#if PSSDET_HAS_LOGGER_FINDER
// From the loader: where to log while TensorRT calls this library.
void set_logger_finder(nvinfer1::ILoggerFinder* finder);
#endif

// One line to TensorRT's log, or to stderr if there is none.
void log_error(const std::string& line) noexcept;

}  // namespace pssdet::tensorrt
