// A plugin's attributes, which a table lists, and their record in a plan. Nothing here needs TensorRT.
// Functions that return a string return what is wrong, in words, or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pssdet::tensorrt {

enum class Kind { kInteger, kReal };  // int32_t and float

struct AttributeInfo {
  const char* name;
  Kind kind;
  int32_t fewest, largest;      // how many values it may have
  double least, most;           // bounds of each value
  std::vector<double> initial;  // empty: the attribute has to be given
};

using AttributeTable = std::vector<AttributeInfo>;

class Attributes {
 public:
  // The table is not copied.
  explicit Attributes(const AttributeTable& table);

  // Sets one attribute. Integers will do for reals.
  std::string assign(const char* name, Kind kind, const std::vector<double>& values);

  // Names an attribute that has no value yet.
  std::string missing() const;

  // By name; std::out_of_range if the table has no such attribute of this kind, which is a programming error.
  std::vector<int32_t> integers(const char* name) const { return values<int32_t>(name, Kind::kInteger); }
  std::vector<float> reals(const char* name) const { return values<float>(name, Kind::kReal); }
  int32_t integer(const char* name) const { return integers(name).at(0); }
  float real(const char* name) const { return reals(name).at(0); }

  const AttributeTable& table() const { return *table_; }
  // The bits of the values in a row of the table.
  const std::vector<uint32_t>& words(size_t row) const { return words_[row]; }

  // "dilations=1,1 group=1 ...": the same text for the same attributes, and only for them.
  std::string text() const;

 private:
  template <typename T>
  std::vector<T> values(const char* name, Kind kind) const;

  const AttributeTable* table_;
  std::vector<std::vector<uint32_t>> words_;
};

// The record in a plan, for V2 plugins. Little-endian 32-bit words: the plugin's magic number, a version, the
// size of the rest in bytes, the values in the table's order; a list of variable length is preceded by that.
size_t serialized_size(const Attributes& attributes);
void serialize(const Attributes& attributes, uint32_t magic, void* to);

// Replaces all attributes, or none: whatever the bytes are, it reads within them, and takes no value that
// `assign` refuses.
std::string deserialize(const void* from, size_t size, uint32_t magic, Attributes* attributes);

}  // namespace pssdet::tensorrt
