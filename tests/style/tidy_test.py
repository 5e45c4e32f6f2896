#!/usr/bin/env python3
"""The house style, checked: sizes, layers, header comments, banned words, dead headers.

Usage: tidy_test.py CHECK [ROOT]     CHECK is one of the functions below; each is one ctest.
Prints one line for each finding, with what to do, and exits with 1 if there is any.
"""
import pathlib
import re
import subprocess
import sys

LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

# A folder may include itself and what its row names. Longest prefix wins.
LAYERS = {
    "transport/base": [],
    "security": ["transport/base"],
    "transport/wire": ["transport/base"],
    "transport/cuda": ["transport/base"],
    "transport/api": ["transport/base", "transport/wire", "transport/cuda"],
    "transport/link": ["transport/base", "transport/wire", "security"],
    "client_shim": ["transport", "security"],
    "gpu_server": ["transport", "security"],
    "gpu_server/software_gpu": ["transport/base", "transport/cuda"],
    "scheduler": ["transport/base", "transport/wire", "security"],
    "tools": [""],
    "tests": [""],
}

# Pattern -> what to use instead. Comments and strings are looked at too: they reach readers.
BANNED = {
    r"\b(TODO|FIXME|XXX|HACK)\b": "finish it, or write it down where users look for limits",
    r"\bstrcpy\(|\bsprintf\(|\bstrcat\(|\bgets\(": "snprintf or std::string",
    r"\busing namespace std\b": "std:: in full",
    r"\bstd::regex\b": "a hand-written scan: std::regex recurses on hostile input",
    r"\bsched_yield\(|\bstd::this_thread::yield\(": "the adaptive wait of transport/link",
    r"\bstd::endl\b": "'\\n'",
    r"#\s*include\s*<cuda\.h>": "transport/cuda/cuda_abi.h, the one includer of cuda.h",
    r"\bstd::rand\(|[^_\w.>]rand\(\)": "an injected generator",
}
BANNED_EXCEPT = {r"#\s*include\s*<cuda\.h>": ["transport/cuda/cuda_abi.h", "tests/e2e/", "tools/bench/"]}

CODE = {".h", ".cpp", ".def", ".cu", ".inc"}


def tracked(root):
    """Every file git tracks or would; outside a checkout, every file."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                            check=False, capture_output=True, text=True)
    if listed.returncode == 0:
        names = listed.stdout.split("\n")
    else:
        names = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
        names = [name for name in names if not name.startswith("build")]
    return [name for name in names if name and (root / name).is_file()]


def code_files(root):
    for name in tracked(root):
        if pathlib.Path(name).suffix in CODE and "/data/" not in name:
            yield name, (root / name).read_text(errors="replace").split("\n")


def sizes(root):
    for name, lines in code_files(root):
        limit = TEST_LINES_MAX if name.startswith("tests/") else LINES_MAX
        # A table (.def) is read by looking things up, not from top to bottom.
        if len(lines) - 1 > limit and not name.endswith(".def"):
            yield f"{name}: {len(lines) - 1} lines, at most {limit}: split it, one idea per file"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX and "http" not in line and not name.endswith(".def"):
                yield f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"


def functions(root):
    opening = re.compile(r"^(\s*)(?!namespace|class|struct|enum|union|extern|else|switch)[\w:<>~*&\[\],\s]+\(.*\{$")
    for name, lines in code_files(root):
        if not name.endswith((".cpp", ".h")) or name.startswith("tests/"):
            continue
        start = None
        for number, line in enumerate(lines, 1):
            if start is None and len(line) - len(line.lstrip()) <= 2 and opening.match(line):
                start, closing = number, re.match(r"^\s*", line).group() + "}"
            elif start is not None and line.rstrip(";") == closing:
                if number - start + 1 > FUNCTION_LINES_MAX:
                    yield f"{name}:{start}: a function of {number - start + 1} lines, at most {FUNCTION_LINES_MAX}"
                start = None


def layer_of(name):
    fits = [layer for layer in LAYERS if name.startswith(layer + "/")]
    return max(fits, key=len) if fits else None


def layers(root):
    include = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
    for name, lines in code_files(root):
        layer = layer_of(name)
        if layer is None or layer in ("tests", "tools"):
            continue
        for number, line in enumerate(lines, 1):
            found = include.match(line)
            if not found:
                continue
            target = layer_of(found.group(1))
            allowed = target == layer or any(
                target is not None and (target + "/").startswith(above + "/") for above in LAYERS[layer])
            if not allowed:
                yield f"{name}:{number}: {layer} may not include {found.group(1)}"


def headers(root):
    for name, lines in code_files(root):
        if not name.endswith(".h"):
            continue
        if not lines[0].startswith("//"):
            yield f"{name}: a header opens with a comment: the problem, an example, owner, threads"
        if not any(line == "#pragma once" for line in lines):
            yield f"{name}: no #pragma once"


def words(root):
    for name, lines in code_files(root):
        for pattern, instead in BANNED.items():
            if any(name.startswith(allowed) for allowed in BANNED_EXCEPT.get(pattern, [])):
                continue
            for number, line in enumerate(lines, 1):
                if re.search(pattern, line):
                    yield f"{name}:{number}: '{line.strip()}': use {instead}"


def dead_headers(root):
    included = set()
    for _, lines in code_files(root):
        for line in lines:
            if found := re.match(r'^\s*#\s*include\s+"([^"]+)"', line):
                included.add(found.group(1))
    for name, _ in code_files(root):
        if name.endswith((".h", ".inc")) and name not in included:
            yield f"{name}: nothing includes it as \"{name}\""


def readmes(root):
    for layer in LAYERS:
        if (root / layer).is_dir() and not (root / layer / "README.md").is_file():
            if layer.count("/") == 0 or layer == "gpu_server/software_gpu":
                yield f"{layer}/: no README.md (purpose, trust, what it may include, how to add)"


def formatting(root):
    files = [name for name in tracked(root) if name.endswith((".h", ".cpp")) and "/data/" not in name]
    for start in range(0, len(files), 50):
        run = subprocess.run(["clang-format", "--dry-run", *files[start:start + 50]], cwd=root,
                             capture_output=True, text=True, check=False)
        named = sorted({line.split(":")[0] for line in run.stderr.split("\n") if "warning:" in line})
        for name in named:
            yield f"{name}: run clang-format -i on it"


CHECKS = [sizes, functions, layers, headers, words, dead_headers, readmes, formatting]


def main():
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else __file__).resolve()
    if len(sys.argv) <= 2:
        root = root.parents[2]
    wanted = {check.__name__: check for check in CHECKS}[sys.argv[1]]
    findings = list(wanted(root))
    print("\n".join(findings) if findings else f"{sys.argv[1]}: nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
