#include "serialization.h"

#include <cstring>
#include <utility>
#include <vector>

namespace pssdet::tensorrt {

namespace {

constexpr uint32_t kVersion = 1;  // another order of words is a new version
constexpr size_t kHead = 12;

// 32-bit words, little-endian on every machine.
class Writer {
 public:
  explicit Writer(void* to) : at_(static_cast<unsigned char*>(to)) {}

  void put(uint32_t word) {
    for (int shift = 0; shift < 32; shift += 8) *at_++ = static_cast<unsigned char>(word >> shift);
  }

 private:
  unsigned char* at_;
};

// Plans come from files: it expects anything and never reads past the end.
class Reader {
 public:
  Reader(const void* from, size_t size) : at_(static_cast<const unsigned char*>(from)), left_(from ? size : 0) {}

  size_t left() const { return left_; }

  bool get(uint32_t* word) {
    if (left_ < 4) return false;
    *word = 0;
    for (int shift = 0; shift < 32; shift += 8) *word |= uint32_t(*at_++) << shift;
    left_ -= 4;
    return true;
  }

 private:
  const unsigned char* at_;
  size_t left_;
};

bool is_counted(const AttributeInfo& info) { return info.fewest != info.largest; }

double value_of(Kind kind, uint32_t word) {
  if (kind == Kind::kInteger) return int32_t(word);
  float value = 0;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// One attribute's values; false if the record ends before they do.
bool read_values(Reader* reader, const AttributeInfo& info, std::vector<double>* values) {
  uint32_t count = uint32_t(info.largest), word = 0;
  if (is_counted(info) && !reader->get(&count)) return false;
  values->clear();
  for (uint32_t i = 0; i < count; ++i) {
    if (!reader->get(&word)) return false;
    values->push_back(value_of(info.kind, word));
  }
  return true;
}

}  // namespace

size_t serialized_size(const Attributes& attributes) {
  size_t size = kHead;
  for (size_t row = 0; row < attributes.table().size(); ++row) {
    size += 4 * (size_t(attributes.count(row)) + is_counted(attributes.table()[row]));
  }
  return size;
}

void serialize(const Attributes& attributes, uint32_t magic, void* to) {
  Writer writer(to);
  writer.put(magic);
  writer.put(kVersion);
  writer.put(uint32_t(serialized_size(attributes) - kHead));
  for (size_t row = 0; row < attributes.table().size(); ++row) {
    const int32_t count = attributes.count(row);
    if (is_counted(attributes.table()[row])) writer.put(uint32_t(count));
    for (int32_t i = 0; i < count; ++i) writer.put(attributes.word(row, i));
  }
}

std::string deserialize(const void* from, size_t size, uint32_t magic, Attributes* attributes) {
  Reader reader(from, size);
  uint32_t found = 0, version = 0, length = 0;
  if (!reader.get(&found) || !reader.get(&version) || !reader.get(&length)) return "its record is cut short";
  if (found != magic) return "its record is something else's";
  if (version != kVersion) {
    return "its record has version " + std::to_string(version) + "; this library reads " + std::to_string(kVersion);
  }
  if (reader.left() != length) return "its record is cut short or too long";
  Attributes result(attributes->table());
  std::vector<double> values;
  for (const AttributeInfo& info : attributes->table()) {
    if (!read_values(&reader, info, &values)) return "its record is cut short";
    std::string wrong = result.assign(info.name, info.kind, values);
    if (!wrong.empty()) return wrong;
  }
  if (reader.left() != 0) return "its record is too long";
  *attributes = std::move(result);
  return {};
}

}  // namespace pssdet::tensorrt
