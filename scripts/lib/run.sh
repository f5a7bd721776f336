#!/usr/bin/env bash
# The runners behind scripts/test and scripts/test-one. Each runs one kind of test, keeps its log, and records what it
# counted. Sourced after common.sh; everything a run writes lies in $run.

passed=0 failed=0 failures=()
gateway_directory=''

# record WHAT PASSED FAILED LOG: adds to the totals and says so.
record() {
    passed=$((passed + $2)) failed=$((failed + $3))
    if [ "$3" -gt 0 ]; then
        failures+=("$1|$4")
        say "  $1: $2 passed, $3 failed"
    else
        say "  $1: $2 passed"
    fi
}

begin_run() {
    prepare_test_user
    run=$stage_root/run.$$
    fresh_directory "$run"
    test_home=$run
    # The tests run on a copy: the checkout may lie where the test user cannot read it.
    mkdir -p "$run/source"
    local part
    for part in t sql expected test scripts docs; do
        [ ! -e "$part" ] || cp -r "$part" "$run/source/"
    done
    as_test_user mkdir -p "$run/tmp" "$run/logs"
    trap end_run EXIT
    trap 'exit 130' INT TERM
}

end_run() {
    if [ -n "${checks_process:-}" ]; then kill "$checks_process" 2>/dev/null || true; fi
    if [ -n "$gateway_directory" ]; then
        as_test_user scripts/rados-gateway stop "$gateway_directory" >/dev/null 2>&1 || true
        rm -rf "$gateway_directory"
        gateway_directory=''
    fi
    rm -rf "$run/source" "$run/tmp"
    [ "$failed" -gt 0 ] || rm -rf "$run"
}

# Starts the S3 server once and exports the variables it prints. Its directory has a short name: Ceph's sockets need one.
start_gateway() {
    [ -z "$gateway_directory" ] || return 0
    [ -x scripts/rados-gateway ] || return 0
    scripts/install-dependencies s3
    gateway_directory=$(mktemp -d /tmp/pgvigil-s3.XXXXXX)
    [ "$(id -u)" != 0 ] || chown "$test_user": "$gateway_directory"
    chmod 755 "$gateway_directory"
    local variables=$run/logs/gateway.env
    if ! (cd "$run/source" && as_test_user scripts/rados-gateway start "$gateway_directory") \
        > "$variables" 2> "$run/logs/gateway.log" </dev/null; then
        cat "$variables" >> "$run/logs/gateway.log"
        record 's3 server' 0 1 "$run/logs/gateway.log"
        return 0
    fi
    set -a
    # shellcheck source=/dev/null
    . "$variables"
    set +a
}

# run_gtest NAME BINARY [ARGUMENT…]: GoogleTest's own report is what is counted.
run_gtest() {
    local name=$1 binary=$2 log report counts status=0
    shift 2
    log=$run/logs/${name//[^a-z0-9]/-}.log
    report=$run/tmp/${name//[^a-z0-9]/-}.json
    mkdir -p "$run/bin"
    cp "$binary" "$run/bin/"
    (cd "$run/source" && as_test_user TMPDIR="$run/tmp" UBSAN_OPTIONS=print_stacktrace=1 timeout -k 10 2400 \
        "$run/bin/$(basename "$binary")" --gtest_output="json:$report" --gtest_brief=1 "$@") > "$log" 2>&1 </dev/null ||
        status=$?
    read -r -a counts < <(python3 scripts/lib/count-gtest.py "$report")
    # A crash after the last test, or a sanitizer's complaint at exit, leaves no failed test in the report.
    if [ "$status" -ne 0 ] && [ "${counts[1]}" -eq 0 ]; then counts[1]=1; fi
    record "$name" "${counts[0]}" "${counts[1]}" "$log"
    [ "${counts[2]}" -eq 0 ] || say "    (${counts[2]} skipped)"
}

# run_regress VERSION [TEST…]: pg_regress against a server of its own.
run_regress() {
    local version=$1 pg_config log out tests=() line good=0 bad=0 status=0
    shift
    tests=("$@")
    if [ ${#tests[@]} -eq 0 ]; then
        for line in sql/*.sql; do if [ -e "$line" ]; then tests+=("$(basename "$line" .sql)"); fi; done
    fi
    [ ${#tests[@]} -gt 0 ] || return 0
    log=$run/logs/regress-$version.log
    if ! pg_config=$(scripts/stage "$version" 2>"$log"); then record "regress $version: build" 0 1 "$log"; return 0; fi
    out=$run/tmp/regress-$version
    as_test_user mkdir -p "$out/results" "$out/sql" "$out/expected"
    (cd "$run/source" && as_test_user timeout -k 10 900 "$(pgxs_source_directory "$pg_config")/test/regress/pg_regress" \
        --inputdir=. --outputdir="$out" --bindir="$("$pg_config" --bindir)" --temp-instance="$out/instance" \
        --temp-config=test/regress.conf --port=$((20000 + RANDOM % 10000)) --dbname=contrib_regression \
        "${tests[@]}") > "$log" 2>&1 </dev/null || status=$?
    # 15 prints "test x ... ok", 16 and later print TAP.
    good=$(grep -cE '^(test .*\.\.\. +ok|ok +[0-9]+ )' "$log" || true)
    bad=$(grep -cE '^(test .*\.\.\. +(FAILED|failed)|not ok +[0-9]+ )' "$log" || true)
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    [ ! -e "$out/regression.diffs" ] || cat "$out/regression.diffs" >> "$log"
    [ "$bad" -eq 0 ] || tail -n 30 "$out/log/postmaster.log" >> "$log" 2>/dev/null || true
    record "regress $version" "$good" "$bad" "$log"
}

# run_tap VERSION [FILE…]: PostgreSQL's own TAP library; one scenario per file.
run_tap() {
    local version=$1 pg_config source counts log out pgbackrest files=() file
    shift
    files=("$@")
    if [ ${#files[@]} -eq 0 ]; then for file in t/*.pl; do if [ -e "$file" ]; then files+=("$file"); fi; done; fi
    [ ${#files[@]} -gt 0 ] || return 0
    log=$run/logs/tap-$version.log
    if ! pg_config=$(scripts/stage "$version" 2>"$log"); then record "tap $version: build" 0 1 "$log"; return 0; fi
    source=$(pgxs_source_directory "$pg_config")
    out=$run/tmp/tap-$version
    as_test_user mkdir -p "$out" "$run/logs/tap-$version"
    # Without it the scenario beside pgBackRest is skipped.
    pgbackrest=$(scripts/install-pgbackrest 2>>"$log" || true)
    mkdir -p /tmp/pgvigil-portlock
    chmod 1777 /tmp/pgvigil-portlock 2>/dev/null || true
    (cd "$run/source" && as_test_user \
        PATH="$("$pg_config" --bindir):$PATH" PG_CONFIG="$pg_config" PG_REGRESS="$source/test/regress/pg_regress" \
        PG_TEST_PORT_DIR=/tmp/pgvigil-portlock TMPDIR="$run/tmp" PGVIGIL_TEST_PGBACKREST="$pgbackrest" \
        TESTDIR="$out" TESTDATADIR="$out/tmp_check" TESTLOGDIR="$run/logs/tap-$version" \
        perl scripts/lib/run-tap.pl "${PGVIGIL_JOBS:-4}" "$run/tmp/tap-$version.counts" "$source/test/perl:t:test/perl" \
        "${files[@]}") > "$log" 2>&1 </dev/null || true
    read -r -a counts < <(cat "$run/tmp/tap-$version.counts" 2>/dev/null || echo 0 1)
    if [ "${counts[1]}" -gt 0 ]; then
        for file in "$run/logs/tap-$version"/regress_log_* "$out"/tmp_check/log/regress_log_*; do
            [ -e "$file" ] || continue
            grep -qE '^\[?[0-9:. ()s]*\]?not ok|[Dd]eath|died|timed out|psql:.*error' "$file" || continue
            { echo "--- the end of $(basename "$file"):"; tail -n 40 "$file"; } >> "$log"
        done
    fi
    record "tap $version" "${counts[0]}" "${counts[1]}" "$log"
}

# run_command NAME COMMAND…: one test that passes when the command succeeds. clang-tidy alone works through all sources
# for some 20 minutes of two processors, which it shares with the servers' tests.
run_command() {
    local name=$1 log=$run/logs/${1//[^a-z0-9]/-}.log
    shift
    if timeout -k 30 3600 "$@" > "$log" 2>&1 </dev/null; then record "$name" 1 0 "$log"; else record "$name" 0 1 "$log"; fi
}

# run_checks [--quick]: every executable in test/checks is one test.
run_checks() {
    local check name
    for check in test/checks/*; do
        if [ ! -x "$check" ] || [ -d "$check" ]; then continue; fi
        name=$(basename "$check")
        if [ "${1:-}" = --quick ]; then case $name in clang-*) [ "$name" = clang-format ] || continue ;; esac; fi
        run_command "check $name" "$check"
    done
}

# start_checks [--quick]: the checks in the background; collect_checks adds what they counted.
start_checks() {
    (
        # shellcheck disable=SC2030
        passed=0 failed=0 failures=()
        run_checks "$@" > "$run/logs/checks.out"
        printf '%s\n' "$passed $failed" "${failures[@]}" > "$run/logs/checks.counts"
    ) &
    checks_process=$!
}

collect_checks() {
    local counts line
    wait "$checks_process" || true
    checks_process=''
    say 'checks'
    cat "$run/logs/checks.out"
    {
        read -r -a counts || counts=(0 1)
        # shellcheck disable=SC2031
        while read -r line; do failures+=("$line"); done
    } < "$run/logs/checks.counts"
    # shellcheck disable=SC2031
    passed=$((passed + counts[0])) failed=$((failed + counts[1]))
}

# run_fuzz_replay: every corpus file goes through its target once more, under the sanitizers.
run_fuzz_replay() {
    local target name log
    for target in build/sanitize-address-undefined/fuzz/*; do
        [ -x "$target" ] || continue
        name=$(basename "$target")
        log=$run/logs/fuzz-$name.log
        if timeout -k 10 300 "$target" test/fuzz/corpus/"$name"/* > "$log" 2>&1 </dev/null; then
            record "fuzz corpus $name" 1 0 "$log"
        else
            record "fuzz corpus $name" 0 1 "$log"
        fi
    done
}

# Prints the logs of what failed and the one line that sums up; the exit status says whether all passed.
finish_run() {
    local failure
    for failure in "${failures[@]}"; do
        say "=== ${failure%%|*} failed; the end of ${failure#*|}:"
        tail -n "${PGVIGIL_LOG_LINES:-80}" "${failure#*|}" || true
    done
    say "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
