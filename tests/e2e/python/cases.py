"""Runs the functions of a program that are marked, and says which of them failed.

    @case
    def addition():
        assert ...

    if __name__ == "__main__":
        run()

A line for each: "ok addition", "FAILED addition: ValueError: ...". Exit code 1 when one failed.
PROGRAM NAME ... runs only those named.
"""
import sys
import traceback

_cases = []


def case(function):
    _cases.append(function)
    return function


def run():
    wanted = sys.argv[1:]
    failed = 0
    for function in _cases:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
            print("ok", function.__name__, flush=True)
        except Exception as error:  # whatever a library throws is this case's failure
            failed += 1
            text = str(error).strip().splitlines()
            print(f"FAILED {function.__name__}: {type(error).__name__}: {text[0] if text else ''}",
                  flush=True)
            traceback.print_exc()
    sys.exit(1 if failed else 0)
