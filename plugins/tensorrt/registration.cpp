// The library's plugins, and how TensorRT finds them: by IPluginRegistry::loadLibrary (trtexec --dynamicPlugins, engines that carry
// their plugins), which calls the entry points below, or by plain dlopen (Triton, Polygraphy, trtexec --staticPlugins, ctypes),
// where the library registers itself.
#include <atomic>
#include <memory>
#include <vector>

#include "common/plugin.h"

namespace pssdet::tensorrt {

namespace {

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

// Registers the creators for as long as the library is loaded, or until somebody else does. TensorRT's own macro would do for
// one plugin without a namespace; it cannot be withdrawn.
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

// loadLibrary opens the library, which registers itself, and then refuses what is registered already: whoever asks for the creators
// registers them itself, so they are withdrawn first.
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
PSSDET_ENTRY_POINT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { pssdet::tensorrt::set_logger_finder(finder); }
#endif

// The TensorRT that the library was compiled for, as NV_TENSORRT_VERSION counts (8601 is 8.6.1, 100400 is 10.4.0); for programs that
// choose among builds.
PSSDET_ENTRY_POINT int32_t pssdet_plugins_tensorrt_version() { return NV_TENSORRT_VERSION; }
