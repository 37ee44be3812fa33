// libpssdet_plugins.so in a real TensorRT, without a GPU: how it is found, and what the plugins answer.
//   test_plugin_library SCENARIO LIBRARY [TENSORRT]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "checks.h"
#include "plugin_cases.h"

namespace {

using namespace plugin_host;
using pssdet::test::expect;

struct Scene {
  std::string library;
  nvinfer1::IPluginRegistry* registry;  // null in `alone`

  PluginCreator* creator(const std::string& plugin) const {
    return find_creator(registry, plugin.c_str(), "pssdet");
  }
  // Whether all plugins are there; some of them are a failure.
  bool found() const {
    size_t count = 0;
    for (const Case& each : all_cases()) count += creator(each.plugin) != nullptr;
    expect(count == 0 || count == all_cases().size(), "all plugins or none");
    return count != 0;
  }
  void* open() const {
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) std::printf("%s\n", dlerror());
    return handle;
  }
};

void alone(const Scene& scene) {
  void* handle = scene.open();
  expect(handle, "it loads where there is no TensorRT");
  expect(handle && dlclose(handle) == 0, "and unloads");
}

void registers_itself(const Scene& scene) {
  expect(!scene.found(), "TensorRT has no such plugin of its own");
  void* handle = scene.open();
  expect(scene.found(), "dlopen registers it");
  dlclose(handle);
  expect(!scene.found(), "dlclose leaves no dangling creator");
  scene.open();
  expect(scene.found(), "it can be opened again, and left open when the program ends");
}

#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
void loaded_by_tensorrt(const Scene& scene) {
  void* handle = scene.registry->loadLibrary(scene.library.c_str());
  expect(handle && scene.found(), "loadLibrary registers it");
  scene.registry->deregisterLibrary(handle);
  expect(!scene.found(), "deregisterLibrary removes it");
  expect(scene.registry->loadLibrary(scene.library.c_str()) && scene.found(), "it can be loaded again");
}

void opened_then_loaded(const Scene& scene) {
  scene.open();
  expect(scene.registry->loadLibrary(scene.library.c_str()) && scene.found(),
      "a library that registered itself can still be loaded");
}
#else
void loaded_by_tensorrt(const Scene&) {
  std::printf("skipped: TensorRT loads plugin libraries from 8.6 on\n");
  std::exit(kSkipped);
}

void opened_then_loaded(const Scene& scene) { loaded_by_tensorrt(scene); }
#endif

void two_copies(const Scene& scene) {
  const std::string copy = scene.library + ".copy";
  std::ofstream(copy, std::ios::binary) << std::ifstream(scene.library, std::ios::binary).rdbuf();
  scene.open();
  const void* first = scene.creator("PssDetDeformConv2d");
  void* second = dlopen(copy.c_str(), RTLD_NOW);
  std::remove(copy.c_str());
  expect(second, "a second copy loads");
  expect(scene.creator("PssDetDeformConv2d") == first, "and leaves the first one's creator");
  dlclose(second);
  expect(scene.creator("PssDetDeformConv2d") == first, "also when it goes");
}

void plugin(const Scene& scene, const Case& wanted) {
  const std::string name = wanted.plugin + ": ";
  PluginCreator* creator = scene.creator(wanted.plugin);
  expect(creator, name + "there is a creator");
  if (!creator) return;
  expect(!find_creator(scene.registry, wanted.plugin.c_str(), ""), name + "in its own namespace only");
  expect(!std::strcmp(creator->getPluginNamespace(), "pssdet"), name + "the creator names its namespace");
  expect(creator->getFieldNames()->nbFields == wanted.attributes, name + "it lists its fields");

  Handle made = Handle::create(creator, wanted.fields);
  expect(bool(made), name + "it is made of fields");
  if (!made) return;
  Handle restored = made.restored(creator);
  expect(restored && restored.text() == made.text(), name + "a plan gives back the plugin");

  const std::vector<Tensor>& tensors = wanted.tensors;
  const size_t inputs = tensors.size() - size_t(restored.outputs());
  expect(restored.output_shapes(each(tensors, 0, inputs, &Tensor::sizes)) ==
          each(tensors, inputs, tensors.size(), &Tensor::sizes),
      name + "shapes of the outputs");
  expect(restored.output_types(each(tensors, 0, inputs, &Tensor::type)) ==
          each(tensors, inputs, tensors.size(), &Tensor::type),
      name + "and types");
  expect(restored.supports(tensors), name + "formats");
  expect((restored.workspace(tensors) > 0) == wanted.has_workspace, name + "workspace");

  // The real kernels, as far as they get without a GPU.
  alignas(16) static char data[32];
  const std::vector<const void*> aligned(inputs, data), crooked(inputs, data + 1);
  const std::vector<void*> outputs(tensors.size() - inputs, data);
  expect(restored.enqueue(smaller(tensors, 0), aligned, outputs, data) != 0,
      name + "enqueue refuses contradictory tensors");
  expect(restored.enqueue(tensors, crooked, outputs, data) != 0, name + "and pointers that are not aligned");
  expect(restored.enqueue(emptied(tensors, wanted.plugin), aligned, outputs, data) == 0,
      name + "a batch of none is no work");
}

void plugins(const Scene& scene) {
  scene.open();
  for (const Case& wanted : all_cases()) plugin(scene, wanted);
}

// Fields as programs and damaged files may give them.
void fields(const Scene& scene) {
  scene.open();
  PluginCreator* creator = scene.creator("PssDetDeformConv2d");
  expect(creator, "there is a creator");
  if (!creator) return;
  const int32_t pads[] = {1, 2, 3, 4}, wrong[] = {1, -1}, one = 1;
  const int64_t wide[] = {1, 1, 1, 1};
  const float real = 1.0f;
  using Type = nvinfer1::PluginFieldType;
  expect(bool(Handle::create(creator, {})), "all of this plugin's have defaults");
#if NV_TENSORRT_MAJOR >= 10
  expect(bool(Handle::create(creator, {{"pads", wide, Type::kINT64, 4}})), "64-bit integers will do");
#else
  (void)wide;
#endif
  const Fields bad_fields = {{"pads", pads, Type::kINT32, 3}, {"strides", wrong, Type::kINT32, 2},
      {"relu", &real, Type::kFLOAT32, 1}, {"relu", nullptr, Type::kINT32, 1}, {"pads", pads, Type::kINT32, -4},
      {"pads", pads, Type::kINT32, 1 << 30}, {"padding", pads, Type::kINT32, 4},
      {nullptr, &one, Type::kINT32, 1}, {"relu", &one, Type::kCHAR, 1}};
  for (const nvinfer1::PluginField& bad : bad_fields)
    expect(!Handle::create(creator, {bad}), "wrong fields make none");
  expect(!Handle::create(creator, {{"raw_mask", &one, Type::kINT32, 1}, {"has_mask", &one, Type::kINT32, 1}}),
      "nor do contradictory ones");

  const Case& nms = all_cases().back();
  const double threshold = 0.5;
  const float nan = std::nanf("");
  Fields changed = nms.fields;
  changed[0] = {"score_threshold", &threshold, Type::kFLOAT64, 1};
  Handle usual = Handle::create(scene.creator(nms.plugin), nms.fields),
         wider = Handle::create(scene.creator(nms.plugin), changed);
  expect(usual && wider && usual.text() == wider.text(), "64-bit reals will do");
  changed[0] = {"score_threshold", &nan, Type::kFLOAT32, 1};
  expect(!Handle::create(scene.creator(nms.plugin), changed), "a NaN will not");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string scenario = argv[1];
  Scene scene{argv[2], nullptr};
  if (scenario != "alone") {
    void* tensorrt = open_tensorrt(argc > 3 ? argv[3] : "");
    if (!tensorrt) {
      std::printf("skipped: no TensorRT %d library: %s\n", NV_TENSORRT_MAJOR, dlerror());
      return kSkipped;
    }
    if (!fits(tensorrt)) {
      std::printf("skipped: this test was compiled for TensorRT %d.%d.%d, and another version is loaded\n",
          NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH);
      return kSkipped;
    }
    scene.registry = registry_of(tensorrt);
  }
  const std::vector<std::pair<std::string, void (*)(const Scene&)>> scenarios = {{"alone", alone},
      {"registers_itself", registers_itself}, {"loaded_by_tensorrt", loaded_by_tensorrt},
      {"opened_then_loaded", opened_then_loaded}, {"two_copies", two_copies}, {"plugins", plugins},
      {"fields", fields}};
  for (const auto& [name, test] : scenarios) {
    if (name != scenario) continue;
    test(scene);
    return pssdet::test::summary();
  }
  return 2;
}
