// Any operator as an IPluginV2DynamicExt, for TensorRT 8.5 to 9.
#include "plugin.h"

#if PSSDET_PLUGIN_GENERATION == 2

#include <new>
#include <utility>

namespace pssdet::tensorrt {

namespace {

class Plugin final : public nvinfer1::IPluginV2DynamicExt {
 public:
  Plugin(const Description& description, std::shared_ptr<const Operator> op)
      : description_(description), op_(std::move(op)) {}

  const char* getPluginType() const noexcept override { return description_.name; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  void setPluginNamespace(const char*) noexcept override {}  // it has one

  int32_t initialize() noexcept override { return 0; }
  void terminate() noexcept override {}
  void destroy() noexcept override { delete this; }
  nvinfer1::IPluginV2DynamicExt* clone() const noexcept override {
    return new (std::nothrow) Plugin(description_, op_);
  }

  int32_t getNbOutputs() const noexcept override { return int32_t(op_->outputs().size()); }

  nvinfer1::DataType getOutputDataType(
      int32_t output, const nvinfer1::DataType* types, int32_t count) const noexcept override {
    return output_type(*op_, output, types, count);
  }

  // One cannot say no here: wrong inputs get the first one's shape, and no format in supportsFormatCombination.
  nvinfer1::DimsExprs getOutputDimensions(int32_t output, const nvinfer1::DimsExprs* inputs, int32_t count,
      nvinfer1::IExprBuilder& builder) noexcept override {
    nvinfer1::DimsExprs outputs[kMostTensors]{};
    const int32_t failed =
        status_of(description_, [&] { return output_shapes(*op_, inputs, count, builder, outputs); });
    if (!failed && output >= 0 && output < getNbOutputs()) return outputs[output];
    return count > 0 ? inputs[0] : nvinfer1::DimsExprs{};
  }

  bool supportsFormatCombination(int32_t position, const nvinfer1::PluginTensorDesc* tensors, int32_t inputs,
      int32_t outputs) noexcept override {
    Storage storages[kMostTensors];
    if (position < 0 || position >= kMostTensors) return false;
    for (int32_t i = 0; i <= position; ++i) storages[i] = storage_of(tensors[i]);
    return op_->supports(storages, position, inputs, outputs);
  }

  void configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, int32_t,
      const nvinfer1::DynamicPluginTensorDesc*, int32_t) noexcept override {}

  // Asked with the profile's largest shapes.
  size_t getWorkspaceSize(const nvinfer1::PluginTensorDesc* inputs, int32_t count,
      const nvinfer1::PluginTensorDesc*, int32_t) const noexcept override {
    Tensor tensors[kMostTensors];
    for (int32_t i = 0; i < count && i < kMostTensors; ++i) tensors[i].shape = shape_of(inputs[i].dims);
    return workspace_of(description_, *op_, tensors, count);
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
      const void* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
    return status_of(description_, [&] {
      return op_->launch(
          tensors_of(*op_, input_descs, output_descs).data(), {inputs, outputs, workspace, -1, stream});
    });
  }

  size_t getSerializationSize() const noexcept override { return serialized_size(op_->attributes()); }
  void serialize(void* to) const noexcept override {
    tensorrt::serialize(op_->attributes(), description_.magic, to);
  }

 private:
  const Description& description_;
  const std::shared_ptr<const Operator> op_;
};

class PluginCreator final : public NamedCreator<nvinfer1::IPluginCreator> {
 public:
  using NamedCreator::NamedCreator;

  void setPluginNamespace(const char*) noexcept override {}

  nvinfer1::IPluginV2* createPlugin(
      const char*, const nvinfer1::PluginFieldCollection* fields) noexcept override {
    return plugin([&](Attributes* attributes) { return assign_fields(fields, attributes); });
  }

  nvinfer1::IPluginV2* deserializePlugin(const char*, const void* from, size_t size) noexcept override {
    return plugin(
        [&](Attributes* attributes) { return deserialize(from, size, description_.magic, attributes); });
  }

 private:
  template <typename Read>
  nvinfer1::IPluginV2* plugin(Read read) noexcept {
    std::shared_ptr<const Operator> op = operator_of(description_, read);
    return op ? new (std::nothrow) Plugin(description_, std::move(op)) : nullptr;
  }
};

}  // namespace

std::unique_ptr<Creator> make_creator(const Description& description) {
  return std::make_unique<PluginCreator>(description);
}

}  // namespace pssdet::tensorrt

#endif  // PSSDET_PLUGIN_GENERATION == 2
