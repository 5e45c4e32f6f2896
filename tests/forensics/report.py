"""The table of a forensic run: place x moment -> hits, unreadable bytes, and what was promised.

    report = Report()
    report.add("supervisor", "live", found, Promise.NOTHING)
    print(report.table()); report.broken()      # rows that break their promise
"""
import enum


class Promise(enum.Enum):
    NOTHING = "nothing"      # no canary, and nothing unreadable
    KEYS = "nothing; keys unreadable"  # as NOTHING, but for pages that no process can read
    SOMETHING = "canaries"   # they must be found here: proof that the scanner sees
    EITHER = "-"             # told, not judged


KEY_BYTES_MAX = 1 << 20


class Row:
    def __init__(self, place, moment, found, promise):
        self.place, self.moment, self.found, self.promise = place, moment, found, promise

    def fault(self):
        """What is wrong with it, or nothing."""
        found = self.found
        if self.promise is Promise.EITHER:
            return ""
        if self.promise is Promise.SOMETHING:
            return "" if found.total else "BLIND: nothing found where it must be"
        if found.total:
            return "LEAK"
        allowed = KEY_BYTES_MAX if self.promise is Promise.KEYS else 0
        return "UNREADABLE" if found.unreadable > allowed else ""


class Report:
    def __init__(self):
        self.rows = []

    def add(self, place, moment, found, promise=Promise.NOTHING):
        self.rows.append(Row(place, moment, found, promise))

    def broken(self):
        return [row for row in self.rows if row.fault()]

    def leaks(self):
        """Broken by what was found, or by a scanner that finds nothing."""
        return [row for row in self.broken() if row.fault() != "UNREADABLE"]

    def table(self):
        lines = [f"{'place':<26}{'moment':<28}{'hits':>8}{'unreadable':>12}{'looked at':>12}  verdict"]
        for row in self.rows:
            found = row.found
            lines.append(f"{row.place:<26}{row.moment:<28}{found.total:>8}{found.unreadable:>12}"
                         f"{found.looked_at:>12}  {self._verdict(row)}")
            if found.total:
                lines.append("    " + _listed("where", found.where))
                lines.append("    " + _listed("by", found.hits))
        return "\n".join(lines)

    @staticmethod
    def _verdict(row):
        if row.fault():
            return row.fault()
        return "told" if row.promise is Promise.EITHER else "ok"


def _listed(what, counter):
    return f"{what}: " + ", ".join(f"{name} {count}" for name, count in counter.most_common(16))
