#!/usr/bin/env python3
"""Divides a target's sources into batches, each compiled as one file: most of a small file's
compilation is its headers.

Usage: batches.py ROOT FOLDER SIZE SOURCE...     (FarcallBuild.cmake calls it for each target)

Writes FOLDER/batch_<n>.cpp, each of at most SIZE sources one after the other, and prints what is to
be compiled: the batches, and the sources that are in none. A file keeps what is its own: files go
into one batch only if no name of one's unnamed namespaces, static functions or aliases occurs in
another, macros are undefined at a file's end, and the headers of all come first.

A source that says "Compiled by itself" in its first lines is.
"""

import functools
import pathlib
import re
import sys

COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w+)((?:\\\n|[^\n])*)", re.M)
TOKEN = re.compile(r"[A-Za-z_]\w*|::|->|\S")
WORD = re.compile(r"[A-Za-z_]\w*")
HEAD = 1500  # characters of a file in which that sentence is looked for
# Part of declarations, and never what is declared.
SPECIFIERS = frozenset(
    "__attribute__ alignas auto bool char class const constexpr decltype double enum explicit extern float inline int "
    "final long namespace noexcept operator requires short signed static static_assert struct template "
    "thread_local typedef typename union unsigned using void volatile std".split())


def plain(text):
    """The text without comments and characters; of texts only those of one line are left."""
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "", text)  # 100'000 is no text
    return COMMENT_OR_TEXT.sub(
        lambda it: " " if it[0][0] == "/" else it[0] if it[0][0] == '"' else "0", text)


class Names:
    """What a text declares outside classes and functions, and what it uses."""

    def __init__(self):
        self.own = set()  # only this file may see them
        self.shared = set()
        self.aliases = {}  # name -> all that is said of it: the same may be said twice
        self.used = set()  # but not as members of something

    def read(self, tokens):
        scopes, statement, previous = [], [], ""
        for token in tokens:
            if WORD.match(token) and previous not in (".", "->", "::"):
                self.used.add(token)
            previous = token
            outside = "body" not in scopes
            if token == "{":
                scopes.append(self.opened(statement) if outside else "body")
                if outside and scopes[-1] == "body":
                    self.declared(statement, scopes)
                statement = []
            elif token == "}":
                if scopes:
                    scopes.pop()
                statement = []
            elif outside and token == ";":
                self.declared(statement, scopes)
                statement = []
            elif outside:
                statement.append(token)

    @staticmethod
    def opened(statement):
        if statement[:1] == ["extern"] and len(statement) == 2:
            return "named"
        if "namespace" not in statement or "(" in statement:
            return "body"
        return "unnamed" if statement[-1] == "namespace" else "named"

    def declared(self, statement, scopes):
        if statement[:2] == ["using", "namespace"] or not statement:
            return
        if statement[0] in ("using", "namespace"):
            self.aliases[statement[1] if "=" in statement else statement[-1]] = " ".join(statement)
            return
        names = self.names_in(statement)
        is_own = "unnamed" in scopes or "static" in statement
        (self.own if is_own else self.shared).update(names)

    @staticmethod
    def names_in(statement):
        """Every name that it could declare."""
        names, depth = set(), 0
        for token, following in zip(statement, statement[1:] + [";"]):
            if token == "=":
                break
            depth += (token in "([<") - (token in ")]>")
            if depth == 0 and WORD.match(token) and token not in SPECIFIERS and not token.isupper():
                if following in ("(", "=", ";", "[", ":"):
                    names.add(token)
        return names


class Source:
    """What of a file matters to others in the same batch."""

    def __init__(self, root, path):
        self.root = root
        self.path = path
        self.names = Names()
        self.macros = []  # defined here, and left so
        self.headers = []  # of ours, in their order
        text = path.read_text()
        self.is_apart = "Compiled by itself" in text[:HEAD]
        self.read(text, path.parent)
        self.declared = self.names.own | self.names.shared
        for header in self.headers:
            self.declared |= declared_by(root, header)
        self.visible = self.declared | self.names.used

    def read(self, text, folder):
        code = plain(text)
        depth = 0
        for directive in DIRECTIVE.finditer(code):
            kind, rest = directive[1], directive[2].strip()
            depth += kind.startswith("if") - (kind == "endif")
            name = WORD.match(rest)
            if kind == "define":
                self.macros.append(name[0])
                self.names.used.update(WORD.findall(rest))
                # What begins so changes a system's header, and must come ahead of all.
                self.is_apart |= name[0].startswith("_")
            elif kind == "undef":
                self.macros = [m for m in self.macros if m != name[0]]
            elif kind == "include":
                self.include(rest, folder, depth)
        code = re.sub(r'"(?:\\.|[^"\\\n])*"', '0', DIRECTIVE.sub(" ", code))
        self.names.read(TOKEN.findall(code))

    def include(self, what, folder, depth):
        if what.startswith(("<linux/", "<asm/")):
            self.is_apart = True  # the C library's headers say the same again
        path = found(self.root, folder, what.strip('"')) if what.startswith('"') else None
        if path is None:
            return
        if path.suffix == ".h" and depth == 0:
            self.headers.append(path)
        elif path.suffix != ".h":
            self.read(path.read_text(), path.parent)

    def gets_on_with(self, other):
        return (not self.is_apart and not other.is_apart and
                not (self.names.own & other.visible or other.names.own & self.visible) and
                not self.contradicts(other) and not other.contradicts(self))

    def contradicts(self, other):
        """An alias of one is something else to the other."""
        return any(other.names.aliases.get(name, said) != said or name in other.declared
                   for name, said in self.names.aliases.items())


def found(root, folder, name):
    return next((base / name for base in (root, folder) if (base / name).is_file()), None)


@functools.cache
def declared_by(root, header):
    """The names that a header of ours and those it includes declare."""
    names = Names()
    code = plain(header.read_text())
    names.read(TOKEN.findall(re.sub(r'"(?:\\.|[^"\\\n])*"', '0', DIRECTIVE.sub(" ", code))))
    result = names.own | names.shared | names.aliases.keys()
    for included in re.findall(r'^\s*#\s*include\s*"([^"]+\.h)"', code, re.M):
        path = found(root, header.parent, included)
        if path is not None:
            result = result | declared_by(root, path)
    return result


def batches(sources, size):
    """Each source into the first batch with room that it gets on with."""
    made = []
    for source in sources:
        for batch in made:
            if len(batch) < size and all(source.gets_on_with(other) for other in batch):
                batch.append(source)
                break
        else:
            made.append([source])
    return made


def text_of(batch):
    headers = dict.fromkeys(header for source in batch for header in source.headers)
    lines = [f'#include "{header}"' for header in headers]
    for source in batch:
        lines.append(f'#include "{source.path}"')
        lines += [f"#undef {macro}" for macro in dict.fromkeys(source.macros)]
    return "\n".join(lines) + "\n"


def main():
    root, folder, size = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    sources = [Source(root, pathlib.Path(path)) for path in sys.argv[4:]]
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in enumerate(batches(sources, size)):
        if len(batch) == 1:
            print(batch[0].path)
            continue
        path = folder / f"batch_{number}.cpp"
        if not path.is_file() or path.read_text() != text_of(batch):
            path.write_text(text_of(batch))
        print(path)


if __name__ == "__main__":
    main()
