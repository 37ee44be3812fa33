// The creators that TensorRT gets, of whichever generation this build implements (plugin_v2.cpp or plugin_v3.cpp).
#pragma once

#include <memory>

#include "generation.h"
#include "operator.h"

namespace pssdet::tensorrt {

// The description is referred to by the creator and by its plugins.
std::unique_ptr<Creator> make_creator(const Description& description);

}  // namespace pssdet::tensorrt
