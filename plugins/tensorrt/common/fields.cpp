#include "fields.h"

#include <cstdint>
#include <cstring>

namespace pssdet::tensorrt {

namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

constexpr int32_t kMostValues = 1 << 12;

template <typename T>
void widen(const PluginField& field, std::vector<double>* to) {
  for (int32_t i = 0; i < field.length; ++i) {
    T value;  // fields need not be aligned
    std::memcpy(&value, static_cast<const char*>(field.data) + size_t(i) * sizeof(T), sizeof(T));
    to->push_back(double(value));
  }
}

// False if the field holds no numbers, or too many. What a double rounds of 64-bit integers is beyond all attributes' bounds.
bool numbers_of(const PluginField& field, Kind* kind, std::vector<double>* values) {
  if (!field.data || field.length < 1 || field.length > kMostValues) return false;
  *kind = Kind::kInteger;
  switch (field.type) {
    case PluginFieldType::kINT8: widen<int8_t>(field, values); break;
    case PluginFieldType::kINT16: widen<int16_t>(field, values); break;
    case PluginFieldType::kINT32: widen<int32_t>(field, values); break;
#if NV_TENSORRT_MAJOR >= 10
    case PluginFieldType::kINT64: widen<int64_t>(field, values); break;
#endif
    case PluginFieldType::kFLOAT32: *kind = Kind::kReal, widen<float>(field, values); break;
    case PluginFieldType::kFLOAT64: *kind = Kind::kReal, widen<double>(field, values); break;
    default: return false;
  }
  return true;
}

PluginFieldType type_of(Kind kind) { return kind == Kind::kInteger ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32; }

}  // namespace

std::string assign_fields(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes) {
  const int32_t count = fields && fields->fields ? fields->nbFields : 0;
  for (int32_t i = 0; i < count; ++i) {
    const PluginField& field = fields->fields[i];
    const char* name = field.name ? field.name : "";
    Kind kind;
    std::vector<double> values;
    if (!numbers_of(field, &kind, &values)) return std::string(name) + " is not a list of numbers";
    std::string wrong = attributes->assign(name, kind, values);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::vector<PluginField> empty_fields(const AttributeTable& table) {
  std::vector<PluginField> fields;
  for (const AttributeInfo& info : table) fields.emplace_back(info.name, nullptr, type_of(info.kind), info.fewest);
  return fields;
}

std::vector<PluginField> fields_of(const Attributes& attributes) {
  std::vector<PluginField> fields;
  for (size_t row = 0; row < attributes.table().size(); ++row) {
    const AttributeInfo& info = attributes.table()[row];
    fields.emplace_back(info.name, attributes.data(row), type_of(info.kind), attributes.count(row));
  }
  return fields;
}

}  // namespace pssdet::tensorrt
