// The creator of PssDetDeformConv2d, of whichever generation this build implements.
#pragma once

#include "../common/generation.h"

namespace pssdet::tensorrt {

Creator& deform_conv_creator();

}  // namespace pssdet::tensorrt
