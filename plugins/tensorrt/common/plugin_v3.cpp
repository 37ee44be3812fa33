// Any operator as an IPluginV3, for TensorRT 10 and 11. TensorRT times the kernel's variants as tactics.
#include "plugin.h"

#if PSSDET_PLUGIN_GENERATION == 3

#include <new>
#include <utility>

namespace pssdet::tensorrt {

namespace {

// What a plugin and its clones share: nothing in it changes.
struct Core {
  Core(const Description& description_, std::shared_ptr<const Operator> op_)
      : description(description_), op(std::move(op_)),
        text(std::string("kernel=") + pssdet_dcnv2_version() + " " + op->attributes().text()),
        fields(fields_of(op->attributes())), collection{int32_t(fields.size()), fields.data()} {}

  const Description& description;
  const std::shared_ptr<const Operator> op;
  const std::string text;
  const std::vector<nvinfer1::PluginField> fields;
  const nvinfer1::PluginFieldCollection collection;
};

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit Plugin(std::shared_ptr<const Core> core) : core_(std::move(core)), op_(*core_->op) {}

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  nvinfer1::IPluginV3* clone() noexcept override {
    Plugin* copy = new (std::nothrow) Plugin(core_);
    if (!copy) return nullptr;
    copy->variants_ = variants_;
    copy->variant_ = variant_;
    return copy;
  }

  // core
  const char* getPluginName() const noexcept override { return core_->description.name; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  // build
  int32_t getNbOutputs() const noexcept override { return int32_t(op_.outputs().size()); }

  int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t output_count,
      const nvinfer1::DataType* inputs, int32_t input_count) const noexcept override {
    if (output_count != getNbOutputs() || input_count < 1) return 1;
    for (int32_t i = 0; i < output_count; ++i) outputs[i] = output_type(op_, i, inputs, input_count);
    return 0;
  }

  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count, const nvinfer1::DimsExprs*,
      int32_t, nvinfer1::DimsExprs* outputs, int32_t output_count,
      nvinfer1::IExprBuilder& builder) noexcept override {
    if (output_count != getNbOutputs()) return 1;
    return status_of(
        core_->description, [&] { return output_shapes(op_, inputs, input_count, builder, outputs); });
  }

  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors,
      int32_t inputs, int32_t outputs) noexcept override {
    Storage storages[kMostTensors];
    if (position < 0 || position >= kMostTensors) return false;
    for (int32_t i = 0; i <= position; ++i) storages[i] = storage_of(tensors[i].desc);
    return op_.supports(storages, position, inputs, outputs);
  }

  // Counts the kernel's variants for the formats that TensorRT will time next. TensorRT times them at the
  // profile's optimum and keeps one for all shapes. Where the profile has others, which a batch of 8 may need
  // another variant for than one of 1, there is no choice: the kernel chooses at each launch. What is wrong
  // with shapes, onShapeChange says.
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t input_count,
      const nvinfer1::DynamicPluginTensorDesc*, int32_t output_count) noexcept override {
    variants_ = 0;
    if (input_count != int32_t(op_.inputs().size()) || output_count != getNbOutputs()) return 1;
    return status_of(core_->description, [&] {
      Tensor tensors[kMostTensors];
      for (int32_t i = 0; i < input_count; ++i) {
        tensors[i] = {storage_of(inputs[i].desc), shape_of(inputs[i].opt)};
        if (shape_of(inputs[i].min) != shape_of(inputs[i].max)) return std::string();
      }
      size_t bytes = 0;
      if (op_.workspace(tensors, &bytes).empty()) variants_ = op_.tactics(tensors);
      return std::string();
    });
  }

  size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t count,
      const nvinfer1::DynamicPluginTensorDesc*, int32_t) const noexcept override {
    Tensor tensors[kMostTensors];
    for (int32_t i = 0; i < count && i < kMostTensors; ++i) tensors[i].shape = shape_of(inputs[i].max);
    return workspace_of(core_->description, op_, tensors, count);
  }

  int32_t getNbTactics() noexcept override { return variants_; }

  int32_t getValidTactics(int32_t* tactics, int32_t count) noexcept override {
    for (int32_t i = 0; i < count; ++i) tactics[i] = i + 1;  // 0 is TensorRT's name for no choice
    return 0;
  }

  const char* getTimingCacheID() noexcept override { return core_->text.c_str(); }
  const char* getMetadataString() noexcept override { return core_->text.c_str(); }

  // runtime
  int32_t setTactic(int32_t tactic) noexcept override {
    variant_ = tactic > 0 ? tactic - 1 : -1;
    return tactic < 0 ? 1 : 0;
  }

  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t input_count,
      const nvinfer1::PluginTensorDesc* outputs, int32_t output_count) noexcept override {
    if (input_count != int32_t(op_.inputs().size()) || output_count != getNbOutputs()) return 1;
    return status_of(core_->description, [&] { return op_.check(tensors_of(op_, inputs, outputs).data()); });
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* input_descs, const nvinfer1::PluginTensorDesc* output_descs,
      const void* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
    return status_of(core_->description, [&] {
      return op_.launch(
          tensors_of(op_, input_descs, output_descs).data(), {inputs, outputs, workspace, variant_, stream});
    });
  }

  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &core_->collection; }

 private:
  const std::shared_ptr<const Core> core_;
  const Operator& op_;
  int32_t variants_ = 0;
  int32_t variant_ = -1;
};

class PluginCreator final : public NamedCreator<nvinfer1::IPluginCreatorV3One> {
 public:
  using NamedCreator::NamedCreator;

  // The fields of a plan are those of getFieldsToSerialize: the attributes by their names, in both phases.
  nvinfer1::IPluginV3* createPlugin(
      const char*, const nvinfer1::PluginFieldCollection* fields, nvinfer1::TensorRTPhase) noexcept override {
    nvinfer1::IPluginV3* plugin = nullptr;
    status_of(description_, [&] {
      auto op =
          operator_of(description_, [&](Attributes* attributes) { return assign_fields(fields, attributes); });
      if (op) plugin = new Plugin(std::make_shared<const Core>(description_, std::move(op)));
      return std::string();
    });
    return plugin;
  }
};

}  // namespace

std::unique_ptr<Creator> make_creator(const Description& description) {
  return std::make_unique<PluginCreator>(description);
}

}  // namespace pssdet::tensorrt

#endif  // PSSDET_PLUGIN_GENERATION == 3
