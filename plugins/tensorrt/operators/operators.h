// The library's plugins. A new one is a file beside this, a line here and one in registration.cpp.
#pragma once

#include "../common/operator.h"

namespace pssdet::tensorrt {

const Description& deform_conv();
const Description& generate_proposals();
const Description& multilevel_roi_align();
const Description& multiclass_nms();

}  // namespace pssdet::tensorrt
