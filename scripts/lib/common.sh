#!/usr/bin/env bash
# Shared by the scripts: where things are kept, and how to run something as a user PostgreSQL accepts.
# Sourced by bash with the working directory at the top of the checkout.

if [ "$(id -u)" = 0 ]; then default_cache=/var/cache/pgvigil; else default_cache=${XDG_CACHE_HOME:-$HOME/.cache}/pgvigil; fi
cache=${PGVIGIL_CACHE:-$default_cache}

# What a checkout stages for its tests lies outside of it: an unprivileged user may not be able to enter the checkout,
# and two checkouts must not overwrite each other's module.
checkout=$(pwd -P)
stage_root=$cache/stage/$(basename "$checkout")-$(printf '%s' "$checkout" | sha256sum | cut -c 1-8)

# PostgreSQL refuses to run as root: root's tests run as this user.
test_user=pgvigil-test

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

prepare_test_user() {
    umask 022
    mkdir -p "$stage_root"
    [ "$(id -u)" = 0 ] || return 0
    if ! id "$test_user" >/dev/null 2>&1; then
        useradd --system --no-create-home --home-dir /nonexistent --shell /bin/sh "$test_user"
    fi
}

# A directory that the tests may write to: emptied first.
fresh_directory() {
    rm -rf "$1"
    mkdir -p "$1"
    [ "$(id -u)" != 0 ] || chown "$test_user": "$1"
}

# Runs a command as the test user when we are root, as ourselves otherwise. HOME is the current stage, so that nothing
# of a developer's ~/.aws or ~/.psqlrc changes a result.
as_test_user() {
    local environment=(HOME="${test_home:-$stage_root}" LC_ALL=C.UTF-8)
    if [ "$(id -u)" = 0 ]; then
        runuser -u "$test_user" -- env "${environment[@]}" "$@"
    else
        env "${environment[@]}" "$@"
    fi
}

# The directory of PGXS's src/ for a pg_config: TAP modules and pg_regress lie below it.
pgxs_source_directory() {
    local pgxs
    pgxs=$("$1" --pgxs)
    printf '%s\n' "${pgxs%/makefiles/pgxs.mk}"
}
