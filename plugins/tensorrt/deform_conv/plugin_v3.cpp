// PssDetDeformConv2d as an IPluginV3, for TensorRT 10 and 11. TensorRT times the kernel's tiles as the plugin's tactics.
#include "creator.h"

#if PSSDET_PLUGIN_GENERATION == 3

#include <exception>
#include <vector>

#include "plugin_parts.h"

namespace pssdet::tensorrt {

namespace deform_conv {
namespace {

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit Plugin(const Attributes& attributes)
      : attributes_(attributes), text_(std::string("kernel=") + pssdet_dcnv2_version() + " " + text_of(attributes)) {
    for (const AttributeInfo& info : kAttributeInfo) {
      fields_.emplace_back(info.name, values_of(attributes_, info), nvinfer1::PluginFieldType::kINT32, info.count);
    }
    collection_ = {int32_t(fields_.size()), fields_.data()};
  }
  Plugin(const Plugin&) = delete;  // fields_ points into it

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  nvinfer1::IPluginV3* clone() noexcept override {
    try {
      Plugin* copy = new Plugin(attributes_);
      copy->tiles_ = tiles_;
      copy->tile_ = tile_;
      return copy;
    } catch (const std::exception&) {
      return nullptr;
    }
  }

  // core
  const char* getPluginName() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  // build
  int32_t getNbOutputs() const noexcept override { return 1; }

  int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t output_count, const nvinfer1::DataType* inputs,
      int32_t input_count) const noexcept override {
    if (output_count != 1 || input_count < 1) return 1;
    outputs[0] = inputs[0];
    return 0;
  }

  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count, const nvinfer1::DimsExprs*, int32_t,
      nvinfer1::DimsExprs* outputs, int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept override {
    return output_count == 1 && output_shape(attributes_, inputs, input_count, builder, outputs) ? 0 : 1;
  }

  bool supportsFormatCombination(
      int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t inputs, int32_t outputs) noexcept override {
    Storage storages[kMostTensors];
    if (position < 0 || position >= kMostTensors) return false;
    for (int32_t i = 0; i <= position; ++i) storages[i] = storage_of(tensors[i].desc);
    return supports(attributes_, storages, position, inputs, outputs);
  }

  // Counts the tiles for the formats that TensorRT will time next, at the profile's optimum.
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t input_count,
      const nvinfer1::DynamicPluginTensorDesc*, int32_t output_count) noexcept override {
    tiles_ = 0;
    if (input_count != Signature(attributes_).inputs() || output_count != 1) return 1;
    Shape shapes[kMostTensors], output;
    Storage storages[kMostTensors];
    for (int32_t i = 0; i < input_count; ++i) {
      shapes[i] = shape_of(inputs[i].opt);
      storages[i] = storage_of(inputs[i].desc);
    }
    pssdet_dcnv2_problem problem;
    if (!problem_of(attributes_, shapes, &problem, &output).empty()) return 0;  // onShapeChange says what is wrong
    const pssdet_dcnv2_format format = format_of(attributes_, storages);
    tiles_ = pssdet_dcnv2_tile_count(&problem, &format);
    return 0;
  }

  int32_t getNbTactics() noexcept override { return tiles_; }

  int32_t getValidTactics(int32_t* tactics, int32_t count) noexcept override {
    for (int32_t i = 0; i < count; ++i) tactics[i] = i + 1;  // 0 is TensorRT's name for no choice
    return 0;
  }

  const char* getTimingCacheID() noexcept override { return text_.c_str(); }
  const char* getMetadataString() noexcept override { return text_.c_str(); }

  // runtime
  int32_t setTactic(int32_t tactic) noexcept override {
    tile_ = tactic > 0 ? tactic - 1 : PSSDET_AUTO_TILE;
    return tactic < 0 ? 1 : 0;
  }

  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t input_count, const nvinfer1::PluginTensorDesc* outputs,
      int32_t output_count) noexcept override {
    pssdet_dcnv2_problem problem;
    pssdet_dcnv2_format format;
    if (input_count != Signature(attributes_).inputs() || output_count != 1) return 1;
    return problem_and_format(attributes_, inputs, outputs[0], &problem, &format) ? 0 : 1;
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
      const void* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept override {
    return run(attributes_, input_descs, output_descs, inputs, outputs, tile_, stream);
  }

  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  const Attributes attributes_;
  const std::string text_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
  int32_t tiles_ = 0;
  int32_t tile_ = PSSDET_AUTO_TILE;
};

class PluginCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  const char* getPluginName() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return field_names(); }

  // The fields of a plan are those of getFieldsToSerialize: the attributes by their names, in both phases.
  nvinfer1::IPluginV3* createPlugin(
      const char*, const nvinfer1::PluginFieldCollection* fields, nvinfer1::TensorRTPhase) noexcept override {
    Attributes attributes;
    if (!attributes_of(fields, &attributes)) return nullptr;
    try {
      return new Plugin(attributes);
    } catch (const std::exception&) {
      return nullptr;
    }
  }
};

}  // namespace
}  // namespace deform_conv

Creator& deform_conv_creator() {
  static deform_conv::PluginCreator creator;
  return creator;
}

}  // namespace pssdet::tensorrt

#endif  // PSSDET_PLUGIN_GENERATION == 3
