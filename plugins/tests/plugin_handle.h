// A plugin as a test holds it: the same calls for both generations of interfaces.
#pragma once

#include <memory>

#include "../tensorrt/common/plugin.h"
#include "plugin_host.h"

namespace plugin_host {

using Fields = std::vector<nvinfer1::PluginField>;

struct Tensor {
  nvinfer1::DataType type;
  nvinfer1::TensorFormat format;
  std::vector<Number> sizes;
};

inline nvinfer1::PluginTensorDesc describe(const Tensor& tensor) {
  nvinfer1::PluginTensorDesc desc{};
  desc.type = tensor.type;
  desc.format = tensor.format;
  desc.dims.nbDims = int32_t(tensor.sizes.size());
  for (size_t i = 0; i < tensor.sizes.size(); ++i) desc.dims.d[i] = tensor.sizes[i];
  return desc;
}

inline std::vector<nvinfer1::PluginTensorDesc> describe(const std::vector<Tensor>& tensors) {
  std::vector<nvinfer1::PluginTensorDesc> descs;
  for (const Tensor& tensor : tensors) descs.push_back(describe(tensor));
  return descs;
}

// The shapes that the expressions of `make` have, which fills as many as there are outputs, or returns false.
template <typename Make>
std::vector<std::vector<Number>> calculate(
    int32_t outputs, const std::vector<std::vector<Number>>& inputs, Make make) {
  Calculator calculator;
  std::vector<nvinfer1::DimsExprs> shapes;
  for (const auto& sizes : inputs) shapes.push_back(calculator.shape(sizes));
  std::vector<nvinfer1::DimsExprs> results(static_cast<size_t>(outputs));
  std::vector<std::vector<Number>> all;
  if (!make(shapes, calculator, results)) return all;
  for (const nvinfer1::DimsExprs& result : results) all.push_back(Calculator::sizes(result));
  return all;
}

inline nvinfer1::PluginFieldCollection collect(const Fields& fields) {
  return {int32_t(fields.size()), fields.data()};
}

#if PSSDET_PLUGIN_GENERATION == 3

using PluginCreator = nvinfer1::IPluginCreatorV3One;

class Handle {
 public:
  explicit Handle(nvinfer1::IPluginV3* plugin) : plugin_(plugin) {}

  static Handle create(PluginCreator* creator, const Fields& fields) {
    const nvinfer1::PluginFieldCollection collection = collect(fields);
    return Handle(creator->createPlugin("test", &collection, nvinfer1::TensorRTPhase::kBUILD));
  }

  explicit operator bool() const { return plugin_ != nullptr; }
  Handle clone() { return Handle(plugin_->clone()); }

  // What a plan keeps, read back.
  Handle restored(PluginCreator* creator) {
    return Handle(
        creator->createPlugin("test", runtime()->getFieldsToSerialize(), nvinfer1::TensorRTPhase::kRUNTIME));
  }

  std::string text() { return build()->getTimingCacheID(); }

  int32_t outputs() { return build()->getNbOutputs(); }

  std::vector<std::vector<Number>> output_shapes(const std::vector<std::vector<Number>>& inputs) {
    return calculate(outputs(), inputs, [&](const auto& shapes, Calculator& calculator, auto& results) {
      const int32_t count = int32_t(shapes.size());
      return build()->getOutputShapes(
                 shapes.data(), count, nullptr, 0, results.data(), outputs(), calculator) == 0;
    });
  }

  std::vector<nvinfer1::DataType> output_types(const std::vector<nvinfer1::DataType>& inputs) {
    std::vector<nvinfer1::DataType> types(static_cast<size_t>(outputs()));
    build()->getOutputDataTypes(types.data(), outputs(), inputs.data(), int32_t(inputs.size()));
    return types;
  }

  bool supports(const std::vector<Tensor>& tensors) {
    const auto descs = dynamic(tensors);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!build()->supportsFormatCombination(int32_t(i), descs.data(), inputs_among(tensors), outputs()))
        return false;
    }
    return true;
  }

  // With these as the profile's largest shapes.
  size_t workspace(const std::vector<Tensor>& tensors) {
    auto descs = dynamic(tensors);
    for (auto& desc : descs) desc.min.d[0] = desc.opt.d[0] = 1;
    const int32_t inputs = inputs_among(tensors);
    return build()->getWorkspaceSize(descs.data(), inputs, descs.data() + inputs, outputs());
  }

  // With these as the profile's optimum, and as all of it if it has one batch size only.
  std::vector<int32_t> tactics(const std::vector<Tensor>& tensors, bool one_batch_size = true) {
    auto descs = dynamic(tensors);
    if (!one_batch_size) descs[0].max.d[0] *= 8;
    const int32_t inputs = inputs_among(tensors);
    if (build()->configurePlugin(descs.data(), inputs, descs.data() + inputs, outputs())) return {-1};
    std::vector<int32_t> values(size_t(build()->getNbTactics()));
    build()->getValidTactics(values.data(), int32_t(values.size()));
    return values;
  }

  int32_t choose(int32_t tactic) { return runtime()->setTactic(tactic); }

  int32_t change_shape(const std::vector<Tensor>& tensors) {
    const auto descs = describe(tensors);
    const int32_t inputs = inputs_among(tensors);
    return runtime()->onShapeChange(descs.data(), inputs, descs.data() + inputs, outputs());
  }

  int32_t enqueue(const std::vector<Tensor>& tensors, const std::vector<const void*>& inputs,
      const std::vector<void*>& outputs, void* workspace = nullptr, cudaStream_t stream = nullptr) {
    const auto descs = describe(tensors);
    return runtime()->enqueue(
        descs.data(), descs.data() + inputs_among(tensors), inputs.data(), outputs.data(), workspace, stream);
  }

 private:
  nvinfer1::IPluginV3OneBuild* build() {
    return static_cast<nvinfer1::IPluginV3OneBuild*>(
        plugin_->getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD));
  }
  nvinfer1::IPluginV3OneRuntime* runtime() {
    return static_cast<nvinfer1::IPluginV3OneRuntime*>(
        plugin_->getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
  }
  int32_t inputs_among(const std::vector<Tensor>& tensors) { return int32_t(tensors.size()) - outputs(); }
  static std::vector<nvinfer1::DynamicPluginTensorDesc> dynamic(const std::vector<Tensor>& tensors) {
    std::vector<nvinfer1::DynamicPluginTensorDesc> descs;
    for (const Tensor& tensor : tensors) {
      const nvinfer1::PluginTensorDesc desc = describe(tensor);
      descs.push_back({desc, desc.dims, desc.dims, desc.dims});
    }
    return descs;
  }

  std::unique_ptr<nvinfer1::IPluginV3> plugin_;
};

#else

using PluginCreator = nvinfer1::IPluginCreator;

class Handle {
 public:
  explicit Handle(nvinfer1::IPluginV2* plugin) : plugin_(static_cast<nvinfer1::IPluginV2DynamicExt*>(plugin)) {}

  static Handle create(PluginCreator* creator, const Fields& fields) {
    const nvinfer1::PluginFieldCollection collection = collect(fields);
    return Handle(creator->createPlugin("test", &collection));
  }

  explicit operator bool() const { return plugin_ != nullptr; }
  Handle clone() { return Handle(plugin_->clone()); }

  std::vector<unsigned char> bytes() {
    std::vector<unsigned char> bytes(plugin_->getSerializationSize());
    plugin_->serialize(bytes.data());
    return bytes;
  }

  Handle restored(PluginCreator* creator) { return restored(creator, bytes()); }
  static Handle restored(PluginCreator* creator, const std::vector<unsigned char>& bytes) {
    return Handle(creator->deserializePlugin("test", bytes.data(), bytes.size()));
  }

  std::string text() {
    const std::vector<unsigned char> all = bytes();
    return std::string(all.begin(), all.end());
  }

  int32_t outputs() { return plugin_->getNbOutputs(); }

  std::vector<std::vector<Number>> output_shapes(const std::vector<std::vector<Number>>& inputs) {
    return calculate(outputs(), inputs, [&](const auto& shapes, Calculator& calculator, auto& results) {
      for (int32_t i = 0; i < outputs(); ++i) {
        results[size_t(i)] = plugin_->getOutputDimensions(i, shapes.data(), int32_t(shapes.size()), calculator);
      }
      return true;
    });
  }

  std::vector<nvinfer1::DataType> output_types(const std::vector<nvinfer1::DataType>& inputs) {
    std::vector<nvinfer1::DataType> types;
    for (int32_t i = 0; i < outputs(); ++i)
      types.push_back(plugin_->getOutputDataType(i, inputs.data(), int32_t(inputs.size())));
    return types;
  }

  bool supports(const std::vector<Tensor>& tensors) {
    const auto descs = describe(tensors);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!plugin_->supportsFormatCombination(int32_t(i), descs.data(), inputs_among(tensors), outputs()))
        return false;
    }
    return true;
  }

  size_t workspace(const std::vector<Tensor>& tensors) {
    const auto descs = describe(tensors);
    const int32_t inputs = inputs_among(tensors);
    return plugin_->getWorkspaceSize(descs.data(), inputs, descs.data() + inputs, outputs());
  }

  int32_t enqueue(const std::vector<Tensor>& tensors, const std::vector<const void*>& inputs,
      const std::vector<void*>& outputs, void* workspace = nullptr, cudaStream_t stream = nullptr) {
    const auto descs = describe(tensors);
    return plugin_->enqueue(
        descs.data(), descs.data() + inputs_among(tensors), inputs.data(), outputs.data(), workspace, stream);
  }

 private:
  int32_t inputs_among(const std::vector<Tensor>& tensors) { return int32_t(tensors.size()) - outputs(); }
  struct Destroy {
    void operator()(nvinfer1::IPluginV2DynamicExt* plugin) const { plugin->destroy(); }
  };
  std::unique_ptr<nvinfer1::IPluginV2DynamicExt, Destroy> plugin_;
};

#endif

inline PluginCreator* find_creator(
    nvinfer1::IPluginRegistry* registry, const char* plugin, const char* name_space) {
#if NV_TENSORRT_MAJOR >= 10
  return static_cast<PluginCreator*>(registry->getCreator(plugin, "1", name_space));
#else
  return registry->getPluginCreator(plugin, "1", name_space);
#endif
}

}  // namespace plugin_host
