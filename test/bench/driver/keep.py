#!/usr/bin/env python3
"""Puts the tables of a run into docs/performance.md, in place of earlier ones of the same cases.

usage: keep.py RESULT DOCUMENT

The document has a pair of marker lines per case, "<!-- begin CASE -->" and "<!-- end CASE -->"; the result as well."""
import re
import sys

BLOCK = re.compile(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->\n", re.DOTALL)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        blocks = {match.group(1): match.group(0) for match in BLOCK.finditer(file.read())}
    with open(sys.argv[2], encoding="utf-8") as file:
        text = file.read()
    for case, block in blocks.items():
        if f"<!-- begin {case} -->" in text:
            text = re.sub(rf"<!-- begin {case} -->\n.*?<!-- end {case} -->\n", lambda _: block, text, flags=re.DOTALL)
        else:
            text = text.rstrip("\n") + "\n\n" + block
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
