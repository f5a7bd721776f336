#include "repo/stored_objects.h"

#include "repo/json_fields.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace pgvigil::fields {

namespace {

constexpr std::string_view kHashesPrefix = "hashes-";

// The number a name stands for; nullopt for one that is none.
std::optional<uint32_t> name_number(std::string_view name) {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool digits = std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (name.size() < 6 || name.size() > 10 || !digits || error != std::errc())
        return std::nullopt;
    return number;
}

StoredObject read_object(const Json &item, const char *name, std::string_view key) {
    StoredObject object;
    object.name = text_member(item, "name", key);
    object.size = number<uint64_t>(item, "size", key);
    const Bytes digest = hex_member(item, "sha256", key);
    if (digest.size() != object.sha256.size())
        throw bad_member(name, key);
    std::copy(digest.begin(), digest.end(), object.sha256.begin());
    return object;
}

} // namespace

Json objects_value(const std::vector<StoredObject> &objects) {
    Json list = Json::array();
    for (const StoredObject &object : objects) {
        Json item{{"name", object.name}, {"size", object.size}, {"sha256", to_hex(object.sha256)}};
        if (object.name.find('/') != std::string::npos)
            item["number"] = object.number;
        list.push_back(std::move(item));
    }
    return list;
}

// Names become parts of keys: nothing but what a writer gives may stand there.
std::vector<StoredObject> packs_member(const Json &source, std::string_view key) {
    std::vector<StoredObject> packs;
    std::set<uint32_t> numbers;
    for (const Json &item : array_member(source, "packs", key)) {
        StoredObject pack = read_object(item, "packs", key);
        const std::string_view name = pack.name;
        const size_t slash = name.find('/');
        const bool adopted = slash != std::string_view::npos;
        const auto number = name_number(adopted ? name.substr(slash + 1) : name);
        if (!number || (adopted && !is_backup_id(name.substr(0, slash))))
            throw bad_member("packs", key);
        pack.number = adopted ? fields::number<uint32_t>(item, "number", key) : *number;
        if (!numbers.insert(pack.number).second)
            throw bad_member("packs", key);
        packs.push_back(std::move(pack));
    }
    return packs;
}

std::vector<StoredObject> table_member(const Json &source, std::string_view key) {
    std::vector<StoredObject> objects;
    for (const Json &item : array_member(source, "table", key)) {
        objects.push_back(read_object(item, "table", key));
        const std::string &name = objects.back().name;
        const auto number = name_number(name);
        if (!number && name != "index")
            throw bad_member("table", key);
        objects.back().number = number.value_or(0);
    }
    return objects;
}

std::vector<StoredObject> hashes_member(const Json &source, std::string_view key) {
    std::vector<StoredObject> objects;
    for (const Json &item : array_member(source, "hashes", key)) {
        objects.push_back(read_object(item, "hashes", key));
        StoredObject &object = objects.back();
        if (!object.name.starts_with(kHashesPrefix))
            throw bad_member("hashes", key);
        const auto number = name_number(std::string_view(object.name).substr(kHashesPrefix.size()));
        // Which one holds a hash is computed, not looked up.
        if (!number || *number != objects.size() - 1)
            throw bad_member("hashes", key);
        object.number = *number;
    }
    return objects;
}

} // namespace pgvigil::fields
