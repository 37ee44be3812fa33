// PssDetDeformConv2d as an IPluginV2DynamicExt, for TensorRT 8.5 to 9.
#include "creator.h"

#if PSSDET_PLUGIN_GENERATION == 2

#include <new>

#include "plugin_parts.h"

namespace pssdet::tensorrt {

namespace deform_conv {
namespace {

class Plugin final : public nvinfer1::IPluginV2DynamicExt {
 public:
  explicit Plugin(const Attributes& attributes) : attributes_(attributes) {}

  const char* getPluginType() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  void setPluginNamespace(const char*) noexcept override {}  // it has one

  int32_t initialize() noexcept override { return 0; }
  void terminate() noexcept override {}
  void destroy() noexcept override { delete this; }
  nvinfer1::IPluginV2DynamicExt* clone() const noexcept override { return new (std::nothrow) Plugin(attributes_); }

  int32_t getNbOutputs() const noexcept override { return 1; }

  nvinfer1::DataType getOutputDataType(int32_t, const nvinfer1::DataType* types, int32_t count) const noexcept override {
    return count > 0 ? types[0] : nvinfer1::DataType::kFLOAT;
  }

  // There is no way to say no here: wrong inputs get x's shape, and no format in supportsFormatCombination.
  nvinfer1::DimsExprs getOutputDimensions(
      int32_t, const nvinfer1::DimsExprs* inputs, int32_t count, nvinfer1::IExprBuilder& builder) noexcept override {
    nvinfer1::DimsExprs output{};
    if (count > 0) output = inputs[0];
    output_shape(attributes_, inputs, count, builder, &output);
    return output;
  }

  bool supportsFormatCombination(
      int32_t position, const nvinfer1::PluginTensorDesc* tensors, int32_t inputs, int32_t outputs) noexcept override {
    Storage storages[kMostTensors];
    if (position < 0 || position >= kMostTensors) return false;
    for (int32_t i = 0; i <= position; ++i) storages[i] = storage_of(tensors[i]);
    return supports(attributes_, storages, position, inputs, outputs);
  }

  void configurePlugin(
      const nvinfer1::DynamicPluginTensorDesc*, int32_t, const nvinfer1::DynamicPluginTensorDesc*, int32_t) noexcept override {}

  size_t getWorkspaceSize(
      const nvinfer1::PluginTensorDesc*, int32_t, const nvinfer1::PluginTensorDesc*, int32_t) const noexcept override {
    return 0;
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
      const void* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept override {
    return run(attributes_, input_descs, output_descs, inputs, outputs, PSSDET_AUTO_TILE, stream);
  }

  size_t getSerializationSize() const noexcept override { return record_size(); }
  void serialize(void* to) const noexcept override { write_record(attributes_, to); }

 private:
  const Attributes attributes_;
};

class PluginCreator final : public nvinfer1::IPluginCreator {
 public:
  const char* getPluginName() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  void setPluginNamespace(const char*) noexcept override {}
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return field_names(); }

  nvinfer1::IPluginV2* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields) noexcept override {
    Attributes attributes;
    return attributes_of(fields, &attributes) ? new (std::nothrow) Plugin(attributes) : nullptr;
  }

  nvinfer1::IPluginV2* deserializePlugin(const char*, const void* from, size_t size) noexcept override {
    Attributes attributes;
    const std::string wrong = read_record(from, size, &attributes);
    if (wrong.empty()) return new (std::nothrow) Plugin(attributes);
    complain(wrong);
    return nullptr;
  }
};

}  // namespace
}  // namespace deform_conv

Creator& deform_conv_creator() {
  static deform_conv::PluginCreator creator;
  return creator;
}

}  // namespace pssdet::tensorrt

#endif  // PSSDET_PLUGIN_GENERATION == 2
