// The library's plugins, and how TensorRT finds them: by IPluginRegistry::loadLibrary (trtexec
// --dynamicPlugins, engines that carry their plugins), which calls the entry points below, or by plain dlopen
// (Triton, Polygraphy, trtexec --staticPlugins, ctypes), where the library registers itself.
//
// TensorRT is looked up at run time, never linked: one file serves libnvinfer and the lean runtime,
// and loads without either.
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/plugin.h"

#if NV_TENSORRT_MAJOR > 8 || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 6)
#define PSSDET_HAS_LOGGER_FINDER 1
#else
#define PSSDET_HAS_LOGGER_FINDER 0
#endif

namespace pssdet::tensorrt {

namespace {

#if PSSDET_HAS_LOGGER_FINDER
std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};
#endif

int32_t version_of(void* library) {
  const auto version = reinterpret_cast<int32_t (*)()>(dlsym(library, "getInferLibVersion"));
  return version ? version() : 0;
}

// Whether the registry has the layout compiled for: one major version keeps it from TensorRT 10 on;
// 8.6.0 and 8.6.1 differ.
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

// The loaded TensorRT, by name first: Python and Triton keep its symbols local.
// The handle keeps it loaded, as linking would.
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

// The process-wide registry; null without a compatible TensorRT.
nvinfer1::IPluginRegistry* process_registry() {
  const Host found = host();
  if (found.version && !compatible(found.version)) {
    log_error("libpssdet_plugins.so was compiled for TensorRT " + std::to_string(NV_TENSORRT_VERSION) +
        " and does not register itself in " + std::to_string(found.version) +
        "; IPluginRegistry::loadLibrary works");
  }
  const auto get = function<nvinfer1::IPluginRegistry* (*)()>(found, "getPluginRegistry");
  return get ? get() : nullptr;
}

const std::vector<Creator*>& all_creators() {
  static std::vector<std::unique_ptr<Creator>> owners;
  static const std::vector<Creator*> creators = [] {
    for (const auto& description : kOperators) owners.push_back(make_creator(description()));
    std::vector<Creator*> pointers;
    for (const auto& owner : owners) pointers.push_back(owner.get());
    return pointers;
  }();
  return creators;
}

// Registers the creators until the library is unloaded or somebody else does.
// TensorRT's own macro cannot be withdrawn.
class Registration {
 public:
  Registration() {
    nvinfer1::IPluginRegistry* registry = process_registry();
    if (!registry) return;
    const std::vector<Creator*>& creators = all_creators();
    for (size_t i = 0; i < creators.size(); ++i) {
      if (registry->registerCreator(*creators[i], kNamespace)) continue;
      while (i-- > 0) registry->deregisterCreator(*creators[i]);  // another copy of the library was first
      return;
    }
    registry_ = registry;
  }

  ~Registration() { withdraw(); }

  void withdraw() noexcept {
    nvinfer1::IPluginRegistry* registry = registry_.exchange(nullptr);
    if (!registry) return;
    for (Creator* creator : all_creators()) registry->deregisterCreator(*creator);
  }

 private:
  std::atomic<nvinfer1::IPluginRegistry*> registry_{nullptr};
};

Registration registration;

}  // namespace

void log_error(const std::string& line) noexcept {
  if (nvinfer1::ILogger* to = logger()) {
    to->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

// loadLibrary opens the library, which registers itself, and then refuses what is registered:
// so that is withdrawn first.
Creator* const* hand_over(int32_t* count) {
  registration.withdraw();
  *count = int32_t(all_creators().size());
  return all_creators().data();
}

}  // namespace pssdet::tensorrt

#define PSSDET_ENTRY_POINT extern "C" __attribute__((visibility("default")))

#if PSSDET_PLUGIN_GENERATION == 3
PSSDET_ENTRY_POINT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  return pssdet::tensorrt::hand_over(&count);
}
#else
PSSDET_ENTRY_POINT nvinfer1::IPluginCreator* const* getPluginCreators(int32_t& count) {
  return pssdet::tensorrt::hand_over(&count);
}
#endif

#if PSSDET_HAS_LOGGER_FINDER
PSSDET_ENTRY_POINT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  pssdet::tensorrt::logger_finder.store(finder);
}
#endif

// The TensorRT it was compiled for, for programs that choose among builds: 8601 is 8.6.1, 100400 is 10.4.0.
PSSDET_ENTRY_POINT int32_t pssdet_plugins_tensorrt_version() { return NV_TENSORRT_VERSION; }
