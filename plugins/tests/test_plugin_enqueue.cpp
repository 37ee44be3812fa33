// The wrappers of both generations, around all plugins: what TensorRT says reaches the operators, and what they
// say reaches TensorRT. The kernels are replaced (recorded_kernels.h); neither a GPU nor TensorRT is needed.
#include "checks.h"
#include "plugin_cases.h"
#include "recorded_kernels.h"

namespace {

using namespace plugin_host;
using pssdet::test::address;
using pssdet::test::expect;
using pssdet::test::recorded;

struct Made {
  const Case& wanted;
  std::unique_ptr<pssdet::tensorrt::Creator> owner;
  PluginCreator* creator;
  Handle plugin;

  explicit Made(const pssdet::tensorrt::Description& description, const Case& wanted_)
      : wanted(wanted_), owner(pssdet::tensorrt::make_creator(description)),
        creator(static_cast<PluginCreator*>(owner.get())), plugin(Handle::create(creator, wanted.fields)) {}
};

Made made(size_t index) {
  using namespace pssdet::tensorrt;
  const Description* const all[] = {
      &deform_conv(), &generate_proposals(), &multilevel_roi_align(), &multiclass_nms()};
  return Made(*all[index], all_cases()[index]);
}

void shapes_and_types(size_t index) {
  Made made = ::made(index);
  const std::string name = made.wanted.plugin;
  const std::vector<Tensor>& tensors = made.wanted.tensors;
  Handle& plugin = made.plugin;
  const size_t inputs = tensors.size() - size_t(plugin.outputs());
  expect(made.creator->getPluginName() == name &&
          made.creator->getFieldNames()->nbFields == made.wanted.attributes,
      name + ": its name and attributes");
  expect(plugin.output_shapes(each(tensors, 0, inputs, &Tensor::sizes)) ==
          each(tensors, inputs, tensors.size(), &Tensor::sizes),
      name + ": shapes of the outputs");
  expect(plugin.output_types(each(tensors, 0, inputs, &Tensor::type)) ==
          each(tensors, inputs, tensors.size(), &Tensor::type),
      name + ": types of the outputs");
  expect(plugin.supports(tensors), name + ": formats");
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::vector<Tensor> strange = tensors;
    strange[i].type = DataType::kINT8;
    expect(!plugin.supports(strange), name + ": int8");
  }
  expect(!plugin.supports({tensors.begin(), tensors.end() - 1}), name + ": a tensor is missing");
#if PSSDET_PLUGIN_GENERATION == 3
  expect(plugin.output_shapes(each(tensors, 0, inputs - 1, &Tensor::sizes)).empty(),
      name + ": so there is no shape");
#endif
}

void workspace(size_t index) {
  Made made = ::made(index);
  const std::string name = made.wanted.plugin;
  std::vector<Tensor> larger = made.wanted.tensors;
  for (size_t i = 0; i < larger.size(); ++i) {
    if (name != "PssDetDeformConv2d" || (i != 1 && i != 3)) larger[i].sizes[0] *= 4;
  }
  const size_t bytes = made.plugin.workspace(made.wanted.tensors), more = made.plugin.workspace(larger);
  expect((bytes > 0) == made.wanted.has_workspace && more < (size_t(1) << 40), name + ": workspace");
  expect(more >= bytes && (!made.wanted.has_workspace || more > bytes), name + ": of the largest batch");
  expect(made.plugin.workspace(smaller(made.wanted.tensors, 0)) > (size_t(1) << 40),
      name + ": none is enough for a contradiction");
}

void enqueue(size_t index) {
  Made made = ::made(index);
  const std::string name = made.wanted.plugin;
  const std::vector<Tensor>& tensors = made.wanted.tensors;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (int i = 0; i < int(tensors.size()); ++i)
    inputs.push_back(address(i + 1)), outputs.push_back(address(i + 51));
  recorded() = {};
  const auto stream = reinterpret_cast<cudaStream_t>(address(91));
  expect(made.plugin.enqueue(tensors, inputs, outputs, address(90), stream) == 0 && recorded().calls == 1,
      name + ": a launch");
  expect(recorded().stream == address(91), name + ": stream");
  expect(recorded().workspace == (made.wanted.has_workspace ? address(90) : nullptr), name + ": workspace");
  expect(made.plugin.clone().enqueue(tensors, inputs, outputs) == 0 && recorded().calls == 2,
      name + ": a clone's launch");
  recorded().answer = PSSDET_CUDA_ERROR;
  expect(made.plugin.enqueue(tensors, inputs, outputs) != 0, name + ": a failed launch is an error");
  recorded() = {};
  for (size_t i = 0; i < tensors.size(); ++i) {
    expect(made.plugin.enqueue(smaller(tensors, i), inputs, outputs) != 0, name + ": sizes are checked");
#if PSSDET_PLUGIN_GENERATION == 3
    expect(made.plugin.change_shape(smaller(tensors, i)) != 0, name + ": and before the first enqueue");
#endif
  }
#if PSSDET_PLUGIN_GENERATION == 3
  expect(made.plugin.change_shape(tensors) == 0, name + ": good sizes");
#endif
  expect(made.plugin.enqueue(emptied(tensors, name), inputs, outputs) == 0, name + ": no images");
  expect(recorded().calls == 0, name + ": none of these reached the kernel");
}

void addresses() {
  const auto launched = [](size_t index) {
    Made made = ::made(index);
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (int i = 0; i < 16; ++i) inputs.push_back(address(i + 1)), outputs.push_back(address(i + 51));
    expect(made.plugin.enqueue(made.wanted.tensors, inputs, outputs) == 0, "it runs");
  };
  launched(0);
  const pssdet::test::DeformConvCall& dcn = recorded().deform_conv;
  expect(dcn.x == address(1) && dcn.bias == address(4) && dcn.y == address(51) && dcn.problem.pad_bottom == 3,
      "DeformConv");
  expect(dcn.format.data_layout == PSSDET_NHWC && dcn.format.offset_type == PSSDET_F32, "its formats");
  launched(1);
  const pssdet::test::ProposalsCall& proposals = recorded().proposals;
  expect(
      proposals.scores[3] == address(4) && proposals.deltas[3] == address(8) && proposals.count == address(53),
      "proposals");
  expect(proposals.problem.anchors[31] == 1.0f && proposals.layouts[3] == PSSDET_NHWC &&
          proposals.layouts[4] == PSSDET_NCHW,
      "anchors and layouts");
  launched(2);
  const pssdet::test::RoiAlignCall& roi_align = recorded().roi_align;
  expect(roi_align.rois == address(5) && roi_align.features == address(51) && roi_align.layout == PSSDET_NHWC,
      "RoIAlign");
  launched(3);
  expect(recorded().nms.region_count == address(3) && recorded().nms.count == address(54), "NMS");
}

void plans(size_t index) {
  Made made = ::made(index);
  const std::string name = made.wanted.plugin;
  Handle restored = made.plugin.restored(made.creator);
  expect(restored && restored.text() == made.plugin.text(), name + ": a plan gives back the plugin");
  expect(made.plugin.clone().text() == made.plugin.text(), name + ": so does a clone");
  for (size_t i = 0; i < made.wanted.fields.size(); ++i) {
    Fields fewer = made.wanted.fields;
    fewer.erase(fewer.begin() + long(i));
    Handle other = Handle::create(made.creator, fewer);
    if (index == 0) {
      expect(other && other.text() != made.plugin.text(), name + ": another plugin is another one");
    } else {
      expect(!other, name + ": nothing has a default");
    }
  }
#if PSSDET_PLUGIN_GENERATION == 2
  std::vector<unsigned char> bytes = made.plugin.bytes();
  bytes.pop_back();
  expect(!Handle::restored(made.creator, bytes) && !Handle::restored(made.creator, {}),
      name + ": a plan cut short gives none");
#endif
}

#if PSSDET_PLUGIN_GENERATION == 3
void tactics() {
  Made made = ::made(0);
  const std::vector<const void*> inputs(4, address(1));
  const std::vector<void*> outputs = {address(5)};
  const std::vector<Tensor>& tensors = made.wanted.tensors;
  const pssdet::test::DeformConvCall& last = recorded().deform_conv;
  expect(
      made.plugin.tactics(tensors) == std::vector<int32_t>{1, 2, 3}, "a tactic for each tile, none of them 0");
  expect(made.plugin.tactics(tensors, false).empty(), "none for a batch that may grow: the kernel looks at it");
  for (const auto& [tactic, tile] :
      {std::pair{1, 0}, {3, 2}, {0, PSSDET_AUTO_TILE}, {4, PSSDET_AUTO_TILE}, {2, 1}}) {
    expect(made.plugin.choose(tactic) == 0 && made.plugin.enqueue(tensors, inputs, outputs) == 0 &&
            last.tile == tile,
        "a tactic is a tile");
  }
  expect(made.plugin.clone().enqueue(tensors, inputs, outputs) == 0 && last.tile == 1, "a clone keeps it");
  expect(made.plugin.choose(-1) != 0, "there is no tactic -1");
  for (size_t index = 1; index < all_cases().size(); ++index) {
    Made other = ::made(index);
    expect(other.plugin.tactics(other.wanted.tensors).empty(), "the other plugins have one kernel");
  }
}
#endif

}  // namespace

int main() {
  for (size_t index = 0; index < all_cases().size(); ++index) {
    shapes_and_types(index);
    workspace(index);
    enqueue(index);
    plans(index);
  }
  addresses();
#if PSSDET_PLUGIN_GENERATION == 3
  tactics();
#endif
  return pssdet::test::summary();
}
