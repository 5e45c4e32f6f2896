#!/usr/bin/env python3
"""Adds up ctest's JUnit reports: names what failed or was skipped, then prints the closing line.

Usage: summarize_tests.py FOLDER   (FOLDER holds PRESET.xml files, and 'unbuilt' with the names of
presets that did not build; each of those counts as one failure)
"""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def outcome(case):
    """passed, failed or skipped, from one <testcase> element."""
    status = case.get("status", "run")
    if status in ("disabled", "notrun") or case.find("skipped") is not None:
        return "skipped"
    if status == "fail" or case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed"


def main():
    folder = pathlib.Path(sys.argv[1])
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for report in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            what = outcome(case)
            counts[what] += 1
            if what == "failed":
                print(f"failed  [{report.stem}] {case.get('name')}")
                print((case.findtext("system-out") or "").rstrip()[-4000:])
            elif what == "skipped":
                print(f"skipped [{report.stem}] {case.get('name')}")
    unbuilt = folder / "unbuilt"
    if unbuilt.exists():
        for preset in unbuilt.read_text().split():
            counts["failed"] += 1
            print(f"failed  [{preset}] did not build; see build/{preset}.log")
    line = f"{counts['passed']} passed, {counts['failed']} failed"
    if counts["skipped"]:
        line += f", {counts['skipped']} skipped"
    print(line)
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
