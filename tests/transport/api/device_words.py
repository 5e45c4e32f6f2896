#!/usr/bin/env python3
"""Every CUdevice parameter of a row has a word that renumbers it.

A CUdevice is an int to the compiler, so no template can tell a row that sends one as it is. Under
CUDA_VISIBLE_DEVICES such a row would name another device than the program means. The prototypes
are read from cuda.h; usage: device_words.py CUDA_H FAMILIES
"""
import pathlib
import re
import sys

WANTED = {"CUdevice": "InDevice", "CUdevice*": "OutDevice"}


def prototypes(header):
    """Exported name -> list of parameter types."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    text = re.sub(r"//.*", "", text)
    versioned = {}
    for name, wrapped, plain in re.findall(
            r"#define\s+(cu\w+)\s+(?:__CUDA_API_PT[DS][SZ]\((cu\w+)\)|(cu\w+))\s*$", text, re.M):
        versioned.setdefault(name, wrapped or plain)
    found = {}
    for name, parameters in re.findall(r"CUresult\s+(?:CUDAAPI\s+)?(cu\w+)\s*\(([^;]*?)\)\s*;", text):
        types = [re.sub(r"\s*\w+$", "", p.strip()).replace(" *", "*") for p in parameters.split(",")]
        # The first prototype of a name is the newest version's, a later one the old name's.
        exported = versioned.get(name, name)
        found.setdefault(exported if exported not in found else name, types)
    return found


def rows(families):
    for path in sorted(families.glob("*.def")):
        text = re.sub(r"//.*", "", path.read_text())
        for name, words in re.findall(r"^API\w*\(0x\w+,\s*(cu\w+),\s*\w+((?:,[^)]*)?)\)", text, re.M):
            yield path.name, name, [w.strip() for w in words.split(",")[1:]]


def main():
    known = prototypes(pathlib.Path(sys.argv[1]))
    compared, wrong = 0, []
    for place, name, words in rows(pathlib.Path(sys.argv[2])):
        types = known.get(name)
        if types is None or len(types) != len(words):
            continue  # not in this toolkit's cuda.h, or (void): the compiler counts the words
        for index, kind in enumerate(types):
            if kind not in WANTED:
                continue
            compared += 1
            if words[index] != WANTED[kind]:
                wrong.append(f"{place}: {name}: parameter {index} is a {kind}: "
                             f"write {WANTED[kind]}, not {words[index]}")
    for line in wrong:
        print(line)
    print(f"{compared} CUdevice parameters compared")
    # Fewer than there have been means that this script no longer reads the files.
    return 1 if wrong or compared < 25 else 0


if __name__ == "__main__":
    sys.exit(main())
