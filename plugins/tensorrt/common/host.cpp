#include "host.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>

namespace pssdet::tensorrt {

namespace {

#if PSSDET_HAS_LOGGER_FINDER
std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};
#endif

int32_t version_of(void* library) {
  const auto version = reinterpret_cast<int32_t (*)()>(dlsym(library, "getInferLibVersion"));
  return version ? version() : 0;
}

// Whether the registry's interface is laid out as this library was compiled to see it: one major version keeps the layout from
// TensorRT 10 on; before that it changed even from 8.6.0 to 8.6.1, and only the very version will do.
bool compatible(int32_t version) {
#if NV_TENSORRT_MAJOR >= 10
  return version / 10000 == NV_TENSORRT_MAJOR;  // 101500 is 10.15.0
#else
  return version == NV_TENSORRT_VERSION;
#endif
}

struct Host {
  void* library;    // for dlsym
  int32_t version;  // 0: there is no TensorRT, or only one of another major version
};

// The loaded TensorRT. It is asked for by name first: Python and Triton load it without making its symbols global. The handle is
// kept, which keeps TensorRT loaded for as long as this library, as linking would.
Host host() {
  for (const char* stem : {"libnvinfer.so.", "libnvinfer_lean.so.", "libnvinfer_dispatch.so."}) {
    void* library = dlopen((stem + std::to_string(NV_TENSORRT_MAJOR)).c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (library) return {library, version_of(library)};
  }
  const int32_t version = version_of(RTLD_DEFAULT);  // linked into the program
  return {RTLD_DEFAULT, compatible(version) ? version : 0};
}

template <typename Function>
Function function(const Host& host, const char* name) {
  return compatible(host.version) ? reinterpret_cast<Function>(dlsym(host.library, name)) : nullptr;
}

nvinfer1::ILogger* logger() {
#if PSSDET_HAS_LOGGER_FINDER
  if (nvinfer1::ILoggerFinder* finder = logger_finder.load()) {
    if (nvinfer1::ILogger* found = finder->findLogger()) return found;
  }
#endif
  const auto get = function<nvinfer1::ILogger* (*)()>(host(), "getLogger");
  return get ? get() : nullptr;
}

}  // namespace

nvinfer1::IPluginRegistry* process_registry() {
  const Host found = host();
  if (found.version && !compatible(found.version)) {
    log_error("libpssdet_plugins.so was compiled for TensorRT " + std::to_string(NV_TENSORRT_VERSION) +
        " and does not register itself in " + std::to_string(found.version) + "; IPluginRegistry::loadLibrary works");
  }
  const auto get = function<nvinfer1::IPluginRegistry* (*)()>(found, "getPluginRegistry");
  return get ? get() : nullptr;
}

#if PSSDET_HAS_LOGGER_FINDER
void set_logger_finder(nvinfer1::ILoggerFinder* finder) { logger_finder.store(finder); }
#endif

void log_error(const std::string& line) noexcept {
  if (nvinfer1::ILogger* to = logger()) {
    to->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

}  // namespace pssdet::tensorrt
