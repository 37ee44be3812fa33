#include "attributes.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace pssdet::tensorrt {

namespace {

constexpr uint32_t kVersion = 1;  // of the record; another order of words is a new version
constexpr size_t kHeadWords = 3;

uint32_t word_of(Kind kind, double value) {
  if (kind == Kind::kInteger) return uint32_t(int32_t(value));
  const float real = float(value);
  uint32_t word = 0;
  std::memcpy(&word, &real, sizeof word);
  return word;
}

double value_of(Kind kind, uint32_t word) {
  if (kind == Kind::kInteger) return int32_t(word);
  float value = 0;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

bool is_counted(const AttributeInfo& info) { return info.fewest != info.largest; }

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);  // tells all integers of 32 bits and all floats apart
  return text;
}

std::string expected_count(const AttributeInfo& info) {
  const std::string fewest = std::to_string(info.fewest);
  return is_counted(info) ? fewest + ".." + std::to_string(info.largest) : fewest;
}

std::vector<uint32_t> record_of(const Attributes& attributes, uint32_t magic) {
  std::vector<uint32_t> record = {magic, kVersion, 0};
  for (size_t row = 0; row < attributes.table().size(); ++row) {
    const std::vector<uint32_t>& words = attributes.words(row);
    if (is_counted(attributes.table()[row])) record.push_back(uint32_t(words.size()));
    record.insert(record.end(), words.begin(), words.end());
  }
  record[2] = uint32_t(4 * (record.size() - kHeadWords));
  return record;
}

// All whole words, little-endian on every machine.
std::vector<uint32_t> words_in(const void* from, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  std::vector<uint32_t> words(from ? size / 4 : 0);
  for (size_t i = 0; i < 4 * words.size(); ++i) words[i / 4] |= uint32_t(bytes[i]) << i % 4 * 8;
  return words;
}

}  // namespace

Attributes::Attributes(const AttributeTable& table) : table_(&table), words_(table.size()) {
  for (const AttributeInfo& info : table) {
    if (!info.initial.empty()) assign(info.name, info.kind, info.initial);
  }
}

std::string Attributes::assign(const char* name, Kind kind, const std::vector<double>& values) {
  for (size_t row = 0; row < table_->size(); ++row) {
    const AttributeInfo& info = (*table_)[row];
    if (std::strcmp(info.name, name) != 0) continue;
    if (info.kind == Kind::kInteger && kind != Kind::kInteger)
      return std::string(name) + " is not a list of integers";
    if (values.size() < size_t(info.fewest) || values.size() > size_t(info.largest)) {
      return std::string(name) + " has " + std::to_string(values.size()) + " values, not " +
          expected_count(info);
    }
    for (const double value : values) {
      if (value >= info.least && value <= info.most) continue;  // a NaN is neither
      return std::string(name) + " is " + number(value) + ", not within " + number(info.least) + ".." +
          number(info.most);
    }
    words_[row].clear();
    for (const double value : values) words_[row].push_back(word_of(info.kind, value));
    return {};
  }
  return std::string("there is no attribute ") + name;
}

std::string Attributes::missing() const {
  for (size_t row = 0; row < table_->size(); ++row) {
    if (words_[row].empty()) return std::string((*table_)[row].name) + " is missing";
  }
  return {};
}

template <typename T>
std::vector<T> Attributes::values(const char* name, Kind kind) const {
  for (size_t row = 0; row < table_->size(); ++row) {
    if (std::strcmp((*table_)[row].name, name) != 0 || (*table_)[row].kind != kind) continue;
    std::vector<T> values;
    for (const uint32_t word : words_[row]) values.push_back(T(value_of(kind, word)));
    return values;
  }
  throw std::out_of_range(name);
}

template std::vector<int32_t> Attributes::values(const char*, Kind) const;
template std::vector<float> Attributes::values(const char*, Kind) const;

std::string Attributes::text() const {
  std::string text;
  for (size_t row = 0; row < table_->size(); ++row) {
    if (row) text += ' ';
    text += (*table_)[row].name;
    char separator = '=';
    for (const uint32_t word : words_[row]) {
      text += separator + number(value_of((*table_)[row].kind, word));
      separator = ',';
    }
  }
  return text;
}

size_t serialized_size(const Attributes& attributes) { return 4 * record_of(attributes, 0).size(); }

void serialize(const Attributes& attributes, uint32_t magic, void* to) {
  auto* at = static_cast<unsigned char*>(to);
  for (const uint32_t word : record_of(attributes, magic)) {
    for (int shift = 0; shift < 32; shift += 8) *at++ = static_cast<unsigned char>(word >> shift);
  }
}

std::string deserialize(const void* from, size_t size, uint32_t magic, Attributes* attributes) {
  const std::vector<uint32_t> words = words_in(from, size);
  if (words.size() < kHeadWords) return "its record is cut short";
  if (words[0] != magic) return "its record is that of another plugin";
  if (words[1] != kVersion) {
    return "its record has version " + std::to_string(words[1]) + "; this library reads " +
        std::to_string(kVersion);
  }
  if (size != 4 * words.size() || size - 4 * kHeadWords != words[2])
    return "its record is cut short or too long";
  Attributes result(attributes->table());
  size_t at = kHeadWords;
  for (const AttributeInfo& info : attributes->table()) {
    size_t count = size_t(info.largest);
    if (is_counted(info)) count = at < words.size() ? words[at++] : count;
    if (count > words.size() - at) return "its record is cut short";
    std::vector<double> values;
    for (const size_t end = at + count; at < end; ++at) values.push_back(value_of(info.kind, words[at]));
    std::string wrong = result.assign(info.name, info.kind, values);
    if (!wrong.empty()) return wrong;
  }
  if (at != words.size()) return "its record is too long";
  *attributes = std::move(result);
  return {};
}

}  // namespace pssdet::tensorrt
