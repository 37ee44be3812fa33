// TensorRT's plugin fields as integers, for the attributes of any plugin.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>

namespace pssdet::tensorrt {

constexpr int32_t kMostFieldValues = 8;

// The field's values, whatever its integer type; their number, or -1 if it holds something else or too many.
int32_t integers_of(const nvinfer1::PluginField& field, int64_t values[kMostFieldValues]);

}  // namespace pssdet::tensorrt
