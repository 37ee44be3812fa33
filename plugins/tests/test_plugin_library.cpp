// libpssdet_plugins.so in a real TensorRT, without a GPU: how it is found, and what the plugin answers.
//   test_plugin_library SCENARIO LIBRARY [TENSORRT]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "plugin_handle.h"

namespace {

using namespace plugin_host;
using nvinfer1::DataType;
using nvinfer1::TensorFormat;

int failures = 0;

void expect(bool truth, const char* what) {
  if (truth) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

struct Scene {
  std::string library;
  nvinfer1::IPluginRegistry* registry;  // null in `alone`

  bool found() const { return find_creator(registry, "pssdet") != nullptr; }
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
  const void* first = find_creator(scene.registry, "pssdet");
  void* second = dlopen(copy.c_str(), RTLD_NOW);
  std::remove(copy.c_str());
  expect(second, "a second copy loads");
  expect(find_creator(scene.registry, "pssdet") == first, "and leaves the first one's creator");
  dlclose(second);
  expect(find_creator(scene.registry, "pssdet") == first, "also when it goes");
}

void plugin(const Scene& scene) {
  scene.open();
  PluginCreator* creator = find_creator(scene.registry, "pssdet");
  expect(creator, "there is a creator");
  if (!creator) return;
  expect(!find_creator(scene.registry, ""), "in its own namespace only");
  expect(!std::strcmp(creator->getPluginNamespace(), "pssdet"), "the creator names its namespace");
  expect(creator->getFieldNames()->nbFields == 11, "it lists its fields");

  const int32_t pads[] = {1, 2, 3, 4}, strides[] = {2, 1}, dilations[] = {1, 2}, wrong[] = {1, -1}, one = 1;
  const int64_t wide[] = {1, 1, 1, 1};
  const float real = 1.0f;
  using Type = nvinfer1::PluginFieldType;
  const Fields fields = {{"pads", pads, Type::kINT32, 4}, {"strides", strides, Type::kINT32, 2},
      {"dilations", dilations, Type::kINT32, 2}, {"has_bias", &one, Type::kINT32, 1}, {"raw_mask", &one, Type::kINT32, 1},
      {"relu", &one, Type::kINT32, 1}};
  Handle made = Handle::create(creator, fields);
  expect(bool(made), "it is made of fields");
  expect(bool(Handle::create(creator, {})), "and of none: all have defaults");
#if NV_TENSORRT_MAJOR >= 10
  expect(bool(Handle::create(creator, {{"pads", wide, Type::kINT64, 4}})), "64-bit integers will do");
#else
  (void)wide;
#endif
  const Fields bad_fields = {{"pads", pads, Type::kINT32, 3}, {"strides", wrong, Type::kINT32, 2},
      {"relu", &real, Type::kFLOAT32, 1}, {"relu", nullptr, Type::kINT32, 1}, {"pads", pads, Type::kINT32, -4},
      {"pads", pads, Type::kINT32, 1 << 30}, {"padding", pads, Type::kINT32, 4}, {nullptr, &one, Type::kINT32, 1}};
  for (const nvinfer1::PluginField& bad : bad_fields) expect(!Handle::create(creator, {bad}), "wrong fields make none");
  expect(!Handle::create(creator, {{"raw_mask", &one, Type::kINT32, 1}, {"has_mask", &one, Type::kINT32, 1}}),
      "nor do contradictory ones");
  if (!made) return;

  Handle restored = made.restored(creator);
  expect(restored && restored.text() == made.text(), "a plan gives back the plugin");
  expect(made.clone().text() == made.text(), "so does a clone");
  expect(Handle::create(creator, {}).text() != made.text(), "another plugin is another one");
#if PSSDET_PLUGIN_GENERATION == 2
  std::vector<unsigned char> bytes = made.bytes();
  bytes.pop_back();
  expect(!Handle::restored(creator, bytes) && !Handle::restored(creator, {}), "a plan cut short makes none");
#endif

  const std::vector<std::vector<Number>> shapes = {{2, 64, 25, 33}, {128, 1, 3, 64}, {2, 9, 15, 35}, {128}};
  expect(restored.output_shape(shapes) == std::vector<Number>{2, 128, 15, 35}, "the output's shape");
  expect(restored.output_type({DataType::kHALF, DataType::kHALF, DataType::kFLOAT, DataType::kFLOAT}) == DataType::kHALF,
      "and type");
  const auto tensors = [&](DataType type, TensorFormat format, DataType offset) {
    return std::vector<Tensor>{{type, format, shapes[0]}, {type, TensorFormat::kLINEAR, shapes[1]},
        {offset, TensorFormat::kLINEAR, shapes[2]}, {DataType::kFLOAT, TensorFormat::kLINEAR, shapes[3]},
        {type, format, {2, 128, 15, 35}}};
  };
  const std::vector<Tensor> good = tensors(DataType::kHALF, TensorFormat::kHWC8, DataType::kFLOAT);
  expect(restored.supports(good), "half channels-last");
  expect(restored.supports(tensors(DataType::kFLOAT, TensorFormat::kLINEAR, DataType::kFLOAT)), "float");
  expect(!restored.supports(tensors(DataType::kHALF, TensorFormat::kHWC8, DataType::kHALF)), "no half offsets unasked");
  expect(!restored.supports(tensors(DataType::kINT8, TensorFormat::kLINEAR, DataType::kFLOAT)), "no int8");
  expect(!restored.supports(tensors(DataType::kFLOAT, TensorFormat::kHWC8, DataType::kFLOAT)), "no float channels-last");
  expect(!restored.supports({good.begin(), good.end() - 1}), "not without the bias it announces");

  alignas(16) static char data[32];
  const std::vector<const void*> aligned(4, data), crooked(4, data + 1);
  std::vector<Tensor> contradictory = good;
  contradictory[2].sizes[1] = 18;
  expect(restored.enqueue(contradictory, aligned, data) != 0, "enqueue refuses tensors that contradict each other");
  std::vector<Tensor> short_output = good;
  short_output[4].sizes[2] = 13;
  expect(restored.enqueue(short_output, aligned, data) != 0, "and an output that is too small");
  expect(restored.enqueue(good, crooked, data) != 0, "and pointers that are not aligned");
  std::vector<Tensor> none = good;
  for (const size_t i : {0, 2, 4}) none[i].sizes[0] = 0;
  expect(restored.enqueue(none, aligned, data) == 0, "a batch of none is no work");
#if PSSDET_PLUGIN_GENERATION == 3
  expect(restored.output_shape({shapes[0], shapes[1], shapes[2]}).empty(), "a missing input has no shape");
  const std::vector<int32_t> tactics = restored.tactics(good);
  expect(tactics.size() > 1 && tactics[0] == 1 && tactics.back() == int32_t(tactics.size()),
      "a tactic for each tile, none of them 0");
  expect(restored.tactics(tensors(DataType::kFLOAT, TensorFormat::kLINEAR, DataType::kFLOAT)).empty(),
      "none for the general kernel");
  expect(restored.choose(0) == 0 && restored.choose(1) == 0 && restored.choose(-1) != 0, "tactics are set");
  expect(restored.change_shape(good) == 0, "shapes are checked before the first enqueue");
  expect(restored.change_shape(contradictory) != 0 && restored.change_shape(short_output) != 0, "and refused there");
#endif
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
      std::printf("skipped: this test was compiled for TensorRT %d.%d.%d, and another version is loaded\n", NV_TENSORRT_MAJOR,
          NV_TENSORRT_MINOR, NV_TENSORRT_PATCH);
      return kSkipped;
    }
    scene.registry = registry_of(tensorrt);
  }
  const std::vector<std::pair<std::string, void (*)(const Scene&)>> scenarios = {{"alone", alone},
      {"registers_itself", registers_itself}, {"loaded_by_tensorrt", loaded_by_tensorrt},
      {"opened_then_loaded", opened_then_loaded}, {"two_copies", two_copies}, {"plugin", plugin}};
  for (const auto& [name, test] : scenarios) {
    if (name != scenario) continue;
    test(scene);
    std::printf(failures ? "%d failures\n" : "passed\n", failures);
    return failures ? 1 : 0;
  }
  return 2;
}
