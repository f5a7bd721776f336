// How the check hooks of settings say what is wrong with a value. Threading: the main thread, the postmaster's as well.
#pragma once

#include "server/pg.h"

#include "base/error.h"

#include <string>

namespace pgvigil {

// Hands an error's words to PostgreSQL's machinery for settings; raises nothing.
void describe_bad_setting(const std::string &message, const std::string &detail, const std::string &hint) noexcept;

// Runs `parse`, which throws an Error for text that means nothing. For check hooks.
template <class Parse> bool accept_setting(Parse &&parse) noexcept {
    try {
        parse();
        return true;
    } catch (const Error &error) {
        describe_bad_setting(error.message(), error.detail(), error.hint());
    } catch (...) {
        describe_bad_setting("out of memory", "", "");
    }
    return false;
}

// Throws unless `path` is empty or absolute.
void check_absolute_path(const std::string &path);

} // namespace pgvigil
