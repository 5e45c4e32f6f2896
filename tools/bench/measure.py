"""What the scripts of this folder share: running a benchmark, medians over rounds, the machine.

    rounds = Rounds()
    rounds.add("tcp", figures_of([build / "bin/bench_calls"], environment, folder))
    rounds.medians("tcp")["launch, in a burst"]
"""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def number(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def figures_of(command, environment, folder):
    """Runs a benchmark that writes JSON; medians by name."""
    out = folder / "figures.json"
    done = subprocess.run([*map(str, command), "--json", str(out)], env=environment, check=False,
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return {row["name"]: row for row in json.loads(out.read_text())}


class Rounds:
    """Figures of several runs: the median of each, by column and name."""

    def __init__(self):
        self.values, self.units = {}, {}

    def add(self, column, rows):
        for name, row in rows.items():
            self.values.setdefault(column, {}).setdefault(name, []).append(row["median"])
            self.units[name] = row["unit"]

    def medians(self, column):
        return {name: statistics.median(all_) for name, all_ in self.values.get(column, {}).items()}

    def as_rows(self, column):
        return {name: {"median": value, "unit": self.units[name],
                       "lowest": min(self.values[column][name]),
                       "highest": max(self.values[column][name])}
                for name, value in self.medians(column).items()}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), "?")
    version = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], check=False,
                             capture_output=True, text=True).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "version": version, "cpu": model,
            "cores": os.cpu_count(), "kernel": platform.release()}
