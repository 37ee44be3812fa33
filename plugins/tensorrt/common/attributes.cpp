#include "attributes.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace pssdet::tensorrt {

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);  // tells all integers of 32 bits and all floats apart
  return text;
}

std::string expected_count(const AttributeInfo& info) {
  const std::string fewest = std::to_string(info.fewest);
  return info.fewest == info.largest ? fewest : fewest + ".." + std::to_string(info.largest);
}

}  // namespace

Attributes::Attributes(const AttributeTable& table) : table_(&table), values_(table.size()) {
  for (const AttributeInfo& info : table) {
    if (!info.initial.empty()) assign(info.name, info.kind, info.initial);
  }
}

std::string Attributes::assign(const char* name, Kind kind, const std::vector<double>& values) {
  for (size_t row = 0; row < table_->size(); ++row) {
    const AttributeInfo& info = (*table_)[row];
    if (std::strcmp(info.name, name) != 0) continue;
    if (info.kind == Kind::kInteger && kind != Kind::kInteger) return std::string(name) + " is not a list of integers";
    if (values.size() < size_t(info.fewest) || values.size() > size_t(info.largest)) {
      return std::string(name) + " has " + std::to_string(values.size()) + " values, not " + expected_count(info);
    }
    for (const double value : values) {
      if (value >= info.least && value <= info.most) continue;  // a NaN is neither
      return std::string(name) + " is " + number(value) + ", not within " + number(info.least) + ".." + number(info.most);
    }
    if (info.kind == Kind::kInteger) {
      values_[row].integers.assign(values.begin(), values.end());
    } else {
      values_[row].reals.assign(values.begin(), values.end());
    }
    return {};
  }
  return std::string("there is no attribute ") + name;
}

std::string Attributes::missing() const {
  for (size_t row = 0; row < table_->size(); ++row) {
    if (count(row) == 0) return std::string((*table_)[row].name) + " is missing";
  }
  return {};
}

size_t Attributes::row_of(const char* name, Kind kind) const {
  for (size_t row = 0; row < table_->size(); ++row) {
    if (!std::strcmp((*table_)[row].name, name) && (*table_)[row].kind == kind) return row;
  }
  throw std::out_of_range(name);
}

const std::vector<int32_t>& Attributes::integers(const char* name) const {
  return values_[row_of(name, Kind::kInteger)].integers;
}

const std::vector<float>& Attributes::reals(const char* name) const { return values_[row_of(name, Kind::kReal)].reals; }

int32_t Attributes::count(size_t row) const { return int32_t(values_[row].integers.size() + values_[row].reals.size()); }

const void* Attributes::data(size_t row) const {
  if ((*table_)[row].kind == Kind::kInteger) return values_[row].integers.data();
  return values_[row].reals.data();
}

uint32_t Attributes::word(size_t row, int32_t index) const {
  uint32_t bits = 0;
  std::memcpy(&bits, static_cast<const char*>(data(row)) + 4 * size_t(index), 4);
  return bits;
}

std::string Attributes::text() const {
  std::string text;
  for (size_t row = 0; row < table_->size(); ++row) {
    if (row) text += ' ';
    text += (*table_)[row].name;
    const char* separator = "=";
    const Values& values = values_[row];
    for (const int32_t value : values.integers) text += std::exchange(separator, ",") + std::to_string(value);
    for (const float value : values.reals) text += std::exchange(separator, ",") + number(value);
  }
  return text;
}

}  // namespace pssdet::tensorrt
