#!/usr/bin/env python3
"""Prints "passed failed skipped" of a GoogleTest JSON report; a report that is missing or cut short is one failure."""
import json
import sys

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
except (OSError, ValueError):
    print("0 1 0")
    sys.exit()
passed = failed = skipped = 0
for suite in report["testsuites"]:
    for test in suite["testsuite"]:
        if test.get("failures"):
            failed += 1
        elif test.get("result") == "SKIPPED":
            skipped += 1
        elif test.get("result") == "COMPLETED":
            passed += 1
print(passed, failed, skipped)
