#include "fields.h"

#include <cstring>

namespace pssdet::tensorrt {

namespace {

template <typename T>
void widen(const void* from, int32_t count, int64_t* to) {
  for (int32_t i = 0; i < count; ++i) {
    T value;  // fields need not be aligned
    std::memcpy(&value, static_cast<const char*>(from) + i * sizeof(T), sizeof(T));
    to[i] = value;
  }
}

}  // namespace

int32_t integers_of(const nvinfer1::PluginField& field, int64_t values[kMostFieldValues]) {
  using nvinfer1::PluginFieldType;
  if (!field.data || field.length < 1 || field.length > kMostFieldValues) return -1;
  switch (field.type) {
    case PluginFieldType::kINT8: widen<int8_t>(field.data, field.length, values); break;
    case PluginFieldType::kINT16: widen<int16_t>(field.data, field.length, values); break;
    case PluginFieldType::kINT32: widen<int32_t>(field.data, field.length, values); break;
#if NV_TENSORRT_MAJOR >= 10
    case PluginFieldType::kINT64: widen<int64_t>(field.data, field.length, values); break;
#endif
    default: return -1;
  }
  return field.length;
}

}  // namespace pssdet::tensorrt
