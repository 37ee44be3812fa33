// The library's plugins. A new one is a file beside this, its name here and its file's in plugins/CMakeLists.txt.
#pragma once

#include "../common/operator.h"

namespace pssdet::tensorrt {

const Description& deform_conv();
const Description& generate_proposals();
const Description& multilevel_roi_align();
const Description& multiclass_nms();

constexpr const Description& (*kOperators[])() = {deform_conv, generate_proposals, multilevel_roi_align, multiclass_nms};

}  // namespace pssdet::tensorrt
