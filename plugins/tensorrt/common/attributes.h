// A plugin's attributes: a table says which there are, and this holds their values. Nothing here needs TensorRT.
//
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
  const std::vector<int32_t>& integers(const char* name) const;
  const std::vector<float>& reals(const char* name) const;
  int32_t integer(const char* name) const { return integers(name).at(0); }
  float real(const char* name) const { return reals(name).at(0); }

  // By row of the table.
  const AttributeTable& table() const { return *table_; }
  int32_t count(size_t row) const;
  const void* data(size_t row) const;
  uint32_t word(size_t row, int32_t index) const;  // the value's bits

  // "dilations=1,1 group=1 ...": the same text for the same attributes, and only for them.
  std::string text() const;

 private:
  struct Values {
    std::vector<int32_t> integers;
    std::vector<float> reals;
  };

  size_t row_of(const char* name, Kind kind) const;

  const AttributeTable* table_;
  std::vector<Values> values_;
};

}  // namespace pssdet::tensorrt
