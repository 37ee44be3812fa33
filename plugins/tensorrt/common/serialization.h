// Attributes as bytes of a plan, for the plugin interface that leaves that to plugins.
//
// Little-endian 32-bit words: a magic number of the plugin's own, a version, the size of the rest in bytes, then the values in the
// table's order, each attribute whose number of values may vary preceded by that number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "attributes.h"

namespace pssdet::tensorrt {

size_t serialized_size(const Attributes& attributes);
void serialize(const Attributes& attributes, uint32_t magic, void* to);

// Replaces all attributes, or none and says what is wrong: whatever the bytes are, it reads within them and no value gets in
// that `assign` refuses.
std::string deserialize(const void* from, size_t size, uint32_t magic, Attributes* attributes);

}  // namespace pssdet::tensorrt
