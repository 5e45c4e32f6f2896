#!/usr/bin/env python3
"""Adds up ctest's JUnit reports: names what failed or was skipped, then prints a table of the
reports, where there are several, and the closing line.

Usage: summarize_tests.py FOLDER   (FOLDER holds NAME.xml files, and 'unbuilt' and 'unfinished' with
the names of builds that failed and of test runs without a report; each counts as one failure)
"""
import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

OUTCOMES = ("passed", "failed", "skipped")


def outcome(case):
    """passed, failed or skipped, from one <testcase> element."""
    status = case.get("status", "run")
    if status in ("disabled", "notrun") or case.find("skipped") is not None:
        return "skipped"
    if status == "fail" or case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed"


def count(report):
    """How many passed, failed and were skipped; names the last two."""
    counts = collections.Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        what = outcome(case)
        counts[what] += 1
        if what == "failed":
            print(f"failed  [{report.stem}] {case.get('name')}")
            print((case.findtext("system-out") or "").rstrip()[-4000:])
        elif what == "skipped":
            print(f"skipped [{report.stem}] {case.get('name')}")
    return counts


def main():
    folder = pathlib.Path(sys.argv[1])
    counted = {report.stem: count(report)
               for report in sorted(folder.glob("*.xml")) if report.stat().st_size > 0}
    for why in ("unbuilt", "unfinished"):
        names = folder / why
        for name in names.read_text().split() if names.exists() else []:
            counted.setdefault(name, collections.Counter())["failed"] += 1
            print(f"failed  [{name}] {why}: see {name}.log in build/ or {folder}")
    if len(counted) > 1:
        print(f"{'':32}{'passed':>8}{'failed':>8}{'skipped':>8}")
        for name, counts in counted.items():
            print(f"{name:32}" + "".join(f"{counts[what]:8}" for what in OUTCOMES))
    total = sum(counted.values(), collections.Counter())
    line = f"{total['passed']} passed, {total['failed']} failed"
    if total["skipped"]:
        line += f", {total['skipped']} skipped"
    print(line)
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
