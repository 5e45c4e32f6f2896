#!/usr/bin/env python3
"""A session that probes handles is frozen and told of; its neighbour goes on; an operator decides.

Usage: containment.py BUILD CASE      CASE is one of the functions below
"""
import json
import pathlib
import time

from pool import Pool, clean_environment, expect, main, run

FAILED = 125
RULES = """window_s = 3600
detail_s = 1
[[rule]]
unknown_handles = 300
"""


class WatchedPool(Pool):
    """A server with thresholds and a control socket of its own."""

    def start_server(self):
        rules = self.folder / "containment.toml"
        rules.write_text(RULES)
        self.server_words = ("--containment", rules)
        super().start_server()

    def quarantine(self, *words, code=0):
        done = run([self.farcall, "quarantine", *words, "--control", self.control],
                   clean_environment())
        expect(done.returncode == code, f"{words}: {done.returncode} {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def cases(self):
        return json.loads(self.quarantine("list", "-o", "json"))

    def records(self, kind):
        done = run([self.farcall, "audit", "export", self.folder / "audit", "-o", "json", "--kind",
                    kind], clean_environment())
        return json.loads(done.stdout) if done.returncode == 0 else []

    def frozen(self):
        """A program that probes, frozen; with its case."""
        since = time.monotonic()
        # Frozen, it has fewer guesses left than would freeze it again.
        probing = self.start([self.program("probe_handles"), "400"])
        self.await_log("frozen within")
        print(f"frozen and told of {time.monotonic() - since:.2f} s after its start")
        case = self.cases()[-1]
        expect(case["state"] == "frozen" and case["user"] == "client", str(case))
        expect(state(case["worker"]) == "T", f"the worker is in state {state(case['worker'])}")
        return probing, case


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def refused(pool):
    done = pool.farcall_run(["true"])
    return done.returncode == FAILED and "is in quarantine here" in done.stderr


def released(build):
    """The neighbour works on while a session is frozen; released, that one goes on where it stood."""
    with WatchedPool(build) as pool:
        expect("No session" in pool.quarantine("list"), "a case before there was one")
        neighbour = pool.authority.client("neighbour")
        beside = pool.start([pool.program("probe_handles"), "20"], client=neighbour)
        expect(beside.stdout.readline() == "probed\n", "the neighbour did not get that far")
        probing, case = pool.frozen()
        expect(int(case["evidence"]["unknown_handles"]) > 300, str(case))
        shown = pool.quarantine("show", case["case"])
        expect("security/runbooks/unknown_handles.md" in shown, shown)
        expect("cuEventQuery, 8 bytes: CUDA_ERROR_INVALID_HANDLE" in shown, shown)
        expect(refused(pool), "its client is let in")
        done = pool.run([pool.program("step_loop"), "5"], client=neighbour)
        expect(done.returncode == 0, f"the neighbour: {done.stdout}{done.stderr}")
        expect(state(case["worker"]) == "T" and probing.poll() is None, "it is not frozen any more")
        out, _ = beside.communicate()
        expect(out == "fine\n" and beside.returncode == 0, f"the neighbour: {beside.returncode} {out}")
        pool.quarantine("release", case["case"])
        pool.await_log("released from quarantine")
        out, error = probing.communicate()
        expect(out == "probed\nfine\n" and probing.returncode == 0,
               f"{probing.returncode} {out}{error}")
        expect(pool.farcall_run(["true"]).returncode == 0, "its client is not let in again")
        expect("released already" in pool.quarantine("end", case["case"], code=FAILED), "ended twice")
        for kind in ("quarantine.freeze", "quarantine.release"):
            expect(len(pool.records(kind)) == 1, f"no record {kind}")
        frozen = pool.records("quarantine.freeze")[0]
        expect(frozen["tenant"] == "acme" and frozen["details"]["feature"] == "unknown_handles",
               str(frozen))


def ended(build):
    """Ended, it is told why, its worker has wiped itself, and its client stays out until released."""
    with WatchedPool(build) as pool:
        probing, case = pool.frozen()
        pool.quarantine("end", case["case"])
        out, error = probing.communicate()
        expect(probing.returncode == 1 and "fine" not in out, f"{probing.returncode} {out}{error}")
        expect("the server's operator ended the session" in error, error)
        pool.await_log("ended, worker exit 0")
        expect(pool.cases()[0]["state"] == "ended" and refused(pool), "its client is let in")
        scrub = pool.records("scrub")[0]
        expect(scrub["outcome"] == "ok" and scrub["details"]["done"] == "yes", str(scrub))
        pool.quarantine("release", case["case"])
        expect(pool.farcall_run(["true"]).returncode == 0, "its client is not let in again")
        pool.await_sessions_end()


def stopped(build):
    """A server that is told to end ends what is frozen as well, wiped; as it starts again, killed or
    not, it still refuses whose case stands, and nobody else."""
    with WatchedPool(build) as pool:
        case = pool.frozen()[1]
        pool.server.terminate()
        pool.server.wait(100)
        scrub = pool.records("scrub")
        expect(len(scrub) == 1 and scrub[0]["outcome"] == "ok", str(scrub))
        expect(not pool.control.exists(), "the control socket is left")
        pool.start_server()
        left = pool.cases()
        done = run([pool.farcall, "audit", "verify", pool.folder / "audit"], clean_environment())
        expect(done.returncode in (0, 3), f"the audit log is in doubt: {done.stdout}{done.stderr}")
        expect(len(left) == 1 and left[0]["case"] == case["case"] and left[0]["state"] == "ended",
               str(left))
        expect(left[0]["evidence"] == case["evidence"] and left[0]["why"] == case["why"], str(left))
        expect(refused(pool), "its client is let in again by a restart")
        neighbour = pool.authority.client("neighbour")
        expect(pool.farcall_run(["true"], client=neighbour).returncode == 0, "the neighbour is not")
        pool.quarantine("release", case["case"])
        pool.server.kill()
        pool.server.wait(100)
        pool.start_server()
        expect(pool.cases() == [] and not refused(pool), "a release is forgotten")


def detailed(build):
    """Half of a threshold, and a session's calls are written down; a pause, and they are not; no
    other session's ever are."""
    with WatchedPool(build) as pool:
        beside = pool.start([pool.program("probe_handles"), "20"],
                            client=pool.authority.client("neighbour"))
        expect(beside.stdout.readline() == "probed\n", "the neighbour did not get that far")
        probing = pool.start([pool.program("probe_handles"), "200"])
        pool.await_log("its calls are not written down any more")
        for each in (beside, probing):
            out, error = each.communicate()
            expect(each.returncode == 0, f"{each.returncode} {out}{error}")
        pool.await_sessions_end()
        expect(pool.cases() == [], "somebody was frozen")
        records = pool.records("session.detail")
        expect([each["details"]["turn"] for each in records] == ["rises", "falls"], str(records))
        session = records[0]["details"]["session"]
        expect(records[0]["principal"].endswith("/user/client"), str(records[0]))
        expect("cuEventQuery: CUDA_ERROR_INVALID_HANDLE" in records[0]["details"]["last_calls"],
               str(records[0]))
        written = [line for line in pool.log if ": call " in line or ": calls up to " in line]
        expect(len(written) >= 32, f"{len(written)} lines of detail")
        expect(all(f"session {session}: " in line for line in written), "another's calls")
        costs = {each["principal"]: each["details"] for each in pool.records("session.cost")}
        expect(len(costs) == 2 and all(int(each["seal_us"]) > 0 and int(each["opened_records"]) > 20
                                       for each in costs.values()),
               str(costs))


def refused_files(build):
    """A file with a mistake, and a control socket that cannot be had, stop the start by name."""
    with WatchedPool(build) as pool:
        server = [build / "bin" / "farcall-server", "--listen", "127.0.0.1:0", "--cert",
                  pool.certificate, "--key", pool.key, "--ca", pool.authority.ca, "--driver",
                  pool.driver, "--module-cache", "off", "--audit", "off"]
        wrong = pool.folder / "wrong.toml"
        wrong.write_text("[[rule]]\nunknown_handels = 3\n")
        done = run([*server, "--containment", wrong], clean_environment())
        expect(done.returncode == 2 and "line 2: a rule has no 'unknown_handels'" in done.stderr,
               done.stderr)
        done = run([*server, "--control", pool.control], clean_environment())
        expect(done.returncode == 1 and "listens at" in done.stderr, done.stderr)
        expect("no server listens" in run(
            [pool.farcall, "quarantine", "list", "--control", pool.folder / "x"],
            clean_environment()).stderr, "no word of what is wrong")


if __name__ == "__main__":
    main({case.__name__: case for case in (released, ended, stopped, detailed, refused_files)})
