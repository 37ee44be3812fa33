// The library's plugins, and how TensorRT finds them: by IPluginRegistry::loadLibrary (trtexec --dynamicPlugins, engines that carry
// their plugins), which calls the entry points below, or by plain dlopen (Triton, Polygraphy, trtexec --staticPlugins, ctypes),
// where the library registers itself.
#include <atomic>
#include <iterator>
#include <memory>

#include "common/creator.h"
#include "common/host.h"
#include "operators/operators.h"

namespace pssdet::tensorrt {

namespace {

Creator* const* all_creators(int32_t* count) {
  constexpr size_t kCount = std::size(kOperators);
  static std::unique_ptr<Creator> creators[kCount];
  static Creator* pointers[kCount];
  static const bool made = [] {
    for (size_t i = 0; i < kCount; ++i) {
      creators[i] = make_creator(kOperators[i]());
      pointers[i] = creators[i].get();
    }
    return true;
  }();
  static_cast<void>(made);
  *count = int32_t(kCount);
  return pointers;
}

// Registers the creators for as long as the library is loaded, or until somebody else does. TensorRT's own macro would do for
// one plugin without a namespace; it cannot be withdrawn.
class Registration {
 public:
  Registration() {
    nvinfer1::IPluginRegistry* registry = process_registry();
    if (!registry) return;
    int32_t count = 0;
    Creator* const* creators = all_creators(&count);
    for (int32_t i = 0; i < count; ++i) {
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
    int32_t count = 0;
    Creator* const* creators = all_creators(&count);
    for (int32_t i = 0; i < count; ++i) registry->deregisterCreator(*creators[i]);
  }

 private:
  std::atomic<nvinfer1::IPluginRegistry*> registry_{nullptr};
};

Registration registration;

}  // namespace

// loadLibrary opens the library, which registers itself, and then refuses what is registered already: whoever asks for the creators
// registers them itself, so they are withdrawn first.
Creator* const* hand_over(int32_t* count) {
  registration.withdraw();
  return all_creators(count);
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
PSSDET_ENTRY_POINT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { pssdet::tensorrt::set_logger_finder(finder); }
#endif

// The TensorRT that the library was compiled for, as NV_TENSORRT_VERSION counts (8601 is 8.6.1, 100400 is 10.4.0); for programs that
// choose among builds.
PSSDET_ENTRY_POINT int32_t pssdet_plugins_tensorrt_version() { return NV_TENSORRT_VERSION; }
