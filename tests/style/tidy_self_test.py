#!/usr/bin/env python3
"""Plants one offence of each kind in a scratch tree and checks that the style checks find it."""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tidy_test  # noqa: E402


OFFENCES = {
    "sizes": ("security/a.cpp", "int x;\n" * 401),
    "functions": ("security/a.cpp", "void f(int a) {\n" + "  g();\n" * 80 + "}\n"),
    "layers": ("security/a.cpp", '#include "client_shim/session.h"\n'),
    "headers": ("security/a.h", "#pragma once\nint x;\n"),
    "words": ("security/a.cpp", "// TO" + "DO: later\n"),
    "dead_headers": ("security/a.h", "// Lonely.\n#pragma once\n"),
    "readmes": ("security/a.cpp", "int x;\n"),
    "formatting": ("security/a.cpp", "int   x ;\n"),
}


def findings(check, files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / ".clang-format").write_text("BasedOnStyle: Google\n")
        return list(check(root))


def main():
    for check in tidy_test.CHECKS:
        name, text = OFFENCES[check.__name__]
        if not findings(check, {name: text}):
            print(f"{check.__name__} does not find its offence")
            return 1
    good = {"security/README.md": "x", "security/a.cpp": '#include "transport/base/status.h"\nint x;\n'}
    for check in tidy_test.CHECKS:
        if wrong := findings(check, good):
            print(f"{check.__name__} objects to a clean tree: {wrong}")
            return 1
    print(f"{len(tidy_test.CHECKS)} checks find what they should and nothing else")
    return 0


if __name__ == "__main__":
    sys.exit(main())
