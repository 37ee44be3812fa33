#include "attributes.h"

#include <cstring>

#include "../common/bytes.h"

namespace pssdet::tensorrt::deform_conv {

namespace {

constexpr uint32_t kMagic = 0x43445350;  // "PSDC"
constexpr uint32_t kVersion = 1;         // of the record; a new attribute or order is a new version
constexpr int32_t kMost = 1 << 15;       // keeps every sum and product of attributes within 32 bits

int32_t* values_of(Attributes* attributes, const AttributeInfo& info) {
  return reinterpret_cast<int32_t*>(reinterpret_cast<char*>(attributes) + info.offset);
}

size_t payload_size() {
  size_t values = 0;
  for (const AttributeInfo& info : kAttributeInfo) values += size_t(info.count);
  return 4 * values;
}

std::string number(int64_t value) { return std::to_string(value); }

}  // namespace

const AttributeInfo kAttributeInfo[kAttributes] = {
    {"dilations", 2, offsetof(Attributes, dilations), 1, kMost},
    {"group", 1, offsetof(Attributes, group), 1, kMost},
    {"kernel_shape", 2, offsetof(Attributes, kernel_shape), 0, kMost},
    {"offset_group", 1, offsetof(Attributes, offset_group), 1, kMost},
    {"pads", 4, offsetof(Attributes, pads), 0, kMost},
    {"strides", 2, offsetof(Attributes, strides), 1, kMost},
    {"has_bias", 1, offsetof(Attributes, has_bias), 0, 1},
    {"has_mask", 1, offsetof(Attributes, has_mask), 0, 1},
    {"raw_mask", 1, offsetof(Attributes, raw_mask), 0, 1},
    {"relu", 1, offsetof(Attributes, relu), 0, 1},
    {"half_offsets", 1, offsetof(Attributes, half_offsets), 0, 1},
};

const int32_t* values_of(const Attributes& attributes, const AttributeInfo& info) {
  return reinterpret_cast<const int32_t*>(reinterpret_cast<const char*>(&attributes) + info.offset);
}

std::string assign(Attributes* attributes, const char* name, const int64_t* values, int32_t count) {
  for (const AttributeInfo& info : kAttributeInfo) {
    if (std::strcmp(info.name, name) != 0) continue;
    if (count != info.count) return std::string(name) + " has " + number(count) + " values, not " + number(info.count);
    for (int32_t i = 0; i < count; ++i) {
      if (values[i] < info.least || values[i] > info.most) {
        return std::string(name) + " is " + number(values[i]) + ", not within " + number(info.least) + ".." + number(info.most);
      }
      values_of(attributes, info)[i] = int32_t(values[i]);
    }
    return {};
  }
  return std::string("there is no attribute ") + name;
}

std::string contradiction(const Attributes& attributes) {
  if (attributes.has_mask[0] && attributes.raw_mask[0]) return "has_mask and raw_mask exclude each other";
  if ((attributes.kernel_shape[0] == 0) != (attributes.kernel_shape[1] == 0)) return "one side of kernel_shape is 0";
  return {};
}

size_t record_size() { return 12 + payload_size(); }

void write_record(const Attributes& attributes, void* to) {
  Writer writer(to);
  writer.put(kMagic);
  writer.put(kVersion);
  writer.put(uint32_t(payload_size()));
  for (const AttributeInfo& info : kAttributeInfo) {
    for (int32_t i = 0; i < info.count; ++i) writer.put(uint32_t(values_of(attributes, info)[i]));
  }
}

std::string read_record(const void* from, size_t size, Attributes* attributes) {
  Reader reader(from, size);
  uint32_t magic = 0, version = 0, length = 0;
  if (!reader.get(&magic) || !reader.get(&version) || !reader.get(&length)) return "its record is cut short";
  if (magic != kMagic) return "its record is something else's";
  if (version != kVersion) return "its record has version " + number(version) + "; this library reads " + number(kVersion);
  if (length != payload_size() || reader.left() != length) return "its record is cut short or too long";
  Attributes result;
  for (const AttributeInfo& info : kAttributeInfo) {
    int64_t values[4] = {};
    for (int32_t i = 0; i < info.count; ++i) {
      uint32_t word = 0;
      if (!reader.get(&word)) return "its record is cut short";
      values[i] = int32_t(word);
    }
    const std::string complaint = assign(&result, info.name, values, info.count);
    if (!complaint.empty()) return complaint;
  }
  const std::string complaint = contradiction(result);
  if (complaint.empty()) *attributes = result;
  return complaint;
}

std::string text_of(const Attributes& attributes) {
  std::string text;
  for (const AttributeInfo& info : kAttributeInfo) {
    if (!text.empty()) text += ' ';
    text += info.name;
    for (int32_t i = 0; i < info.count; ++i) text += (i ? "," : "=") + number(values_of(attributes, info)[i]);
  }
  return text;
}

}  // namespace pssdet::tensorrt::deform_conv
