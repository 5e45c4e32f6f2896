"""A pool of one server for a test: its own authority, certificates and a free loopback port.

    with Pool(build) as pool:
        done = pool.run([pool.program("vector_add")])
        assert done.returncode == 0, done.stdout

Everything lies in a folder of its own that only its owner can read, and ends with the test.
"""
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

SKIPPED = 77  # what ctest knows as "skipped", by SKIP_RETURN_CODE
# Optimisations to do without, at both ends: the suite is run with each of them off.
OFF = os.environ.get("FARCALL_OFF", "")
PATIENCE_S = 100  # a test that takes longer hangs; ctest's own limit is above this


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


class Failure(Exception):
    """What a test found; printed without a traceback."""


def expect(holds, what):
    if not holds:
        raise Failure(what)


def main(cases):
    """Runs the case that the command line names: SCRIPT BUILD CASE [ARGUMENT…]."""
    build, case, *arguments = sys.argv[1:]
    if case not in cases:
        sys.exit(f"there is no case {case!r}, only: {' '.join(cases)}")
    # Ended from outside, a test still takes its servers down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cases[case](pathlib.Path(build).resolve(), *arguments)
    except Failure as failure:
        print(f"{case}: {failure}")
        sys.exit(1)
    print(f"{case}: as it should be")


def program(build, name):
    """The path of a CUDA program, or the end of the test where it was not built."""
    path = build / "e2e" / name
    if not path.is_file():
        skip(f"{name} is not built, for want of nvcc")
    return path


def software_gpu(build):
    return build / "lib" / "software_gpu" / "libcuda.so.1"


def clean_environment():
    """This process's environment without what would change a test."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("FARCALL_", "CUDA_")) and name != "LD_PRELOAD"}


def run(command, environment, patience_s=PATIENCE_S, **more):
    """Runs to its end, output as text, in a process group of its own: nothing outlives a hang."""
    process = subprocess.Popen([str(word) for word in command], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, **more)
    try:
        out, err = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired as hang:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Failure(f"{command[0]} hangs; so far it printed {hang.stdout!r}") from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def wait_for_any(pid_fds, seconds):
    """Those of the pidfds whose processes have ended, once there is one, or after `seconds`."""
    poller = select.poll()
    for pid_fd in pid_fds:
        poller.register(pid_fd, select.POLLIN)
    return [pid_fd for pid_fd, _ in poller.poll(seconds * 1000)]


def ends_within(pid_fd, seconds):
    return bool(wait_for_any([pid_fd], seconds))


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on, for servers that must know each other's. They lie
    below those that the system chooses by itself: who asks for any port does not get one of them
    before the servers do."""
    chosen = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = []
    for port in random.sample(range(max(chosen - 12000, 1024), chosen), 200):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"no {count} free ports below {chosen}")


class Authority:
    """A certificate authority in a folder, by the farcall command itself."""

    def __init__(self, build, folder, pool="test"):
        self.farcall, self.folder = build / "bin" / "farcall", folder
        self.ca = folder / "ca.crt"
        self._call("init", "--dir", folder, "--pool", pool)

    def _call(self, *words):
        done = run([self.farcall, "ca", *words], clean_environment())
        expect(done.returncode == 0, f"farcall ca {words[0]}: {done.stderr}")

    def server(self, name="server", host="localhost"):
        """host: who the certificate says the server is."""
        return self._issue(name, "--server", host, "--names", "127.0.0.1,localhost")

    def client(self, name="client", tenant="acme"):
        return self._issue(name, "--tenant", tenant, "--user", name)

    def deny_list(self):
        """The file of who was revoked, dated now; nobody to begin with."""
        self._call("deny-list", "--dir", self.folder)
        return self.folder / "deny.crl"

    def revoke(self, certificate, reason="key-compromise"):
        self._call("revoke", "--dir", self.folder, "--reason", reason, certificate)

    def renew(self, certificate, *words):
        self._call("renew", "--dir", self.folder, certificate, *words)

    def _issue(self, name, *words):
        self._call("issue", "--dir", self.folder, "--out", self.folder / name, *words)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def expired_client(self):
        """A certificate of last year. The farcall command would not issue it; openssl does."""
        folder = self.folder / "expired"
        folder.mkdir()
        (folder / "index.txt").touch()
        (folder / "openssl.cnf").write_text(f"""
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
x509_extensions = leaf
[any]
commonName = optional
[req]
distinguished_name = any
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = critical, URI:spiffe://test/tenant/acme/user/late
""")
        key, request, leaf = folder / "late.key", folder / "late.csr", folder / "late.crt"
        steps = [["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-config", folder / "openssl.cnf", "-subj", "/CN=late", "-keyout", key,
                  "-out", request],
                 ["ca", "-batch", "-notext", "-config", folder / "openssl.cnf", "-rand_serial",
                  "-cert", self.ca, "-keyfile", self.folder / "ca.key", "-in", request,
                  "-out", leaf, "-startdate", "20240101000000Z", "-enddate", "20240108000000Z"]]
        for step in steps:
            done = run(["openssl", *step], clean_environment())
            expect(done.returncode == 0, f"openssl {step[0]}: {done.stderr}")
        return leaf, key


class Pool:
    unaudited = False  # a server without an audit log, if a subclass says so
    patience_s = PATIENCE_S

    def __init__(self, build, driver=None, module_cache_size="1G", server_words=(),
                 server_environment=None, beside=None, name="localhost", port=0, server_user=None,
                 denies=False):
        """beside: another pool, whose authority and client are this one's too.
        name: who the server is; port: 0 is any that is free.
        server_user: whose the server and the folder are, if not ours (who must be root then).
        denies: the server goes by the authority's deny list."""
        self.build = build
        self.driver = driver or software_gpu(build)
        self.shim = build / "lib" / "libcuda.so.1"
        self.farcall = build / "bin" / "farcall"
        self.log = []
        self._log_grew = threading.Condition()
        self.module_cache_size = module_cache_size
        self.server_words = server_words
        self.server_environment = server_environment or {}
        self.beside, self.name, self.listens_on = beside, name, port
        self.server_user, self.denies = server_user, denies
        for part in (self.driver, self.shim, self.farcall, build / "bin" / "farcall-server"):
            expect(part.exists(), f"{part} is missing")

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="farcall-test-"))
        try:
            if self.beside is None:
                self.authority = Authority(self.build, self.folder)
                self.client = self.authority.client()
            else:
                self.authority, self.client = self.beside.authority, self.beside.client
            self.certificate, self.key = self.authority.server(self.folder.name, self.name)
            self.start_server()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self

    def start_server(self):
        self.module_cache = self.folder / "images"
        self.audit = "off" if self.unaudited else self.folder / "audit"
        self.control = self.folder / "control.sock"
        environment = clean_environment() | {"FARCALL_LOG": "info"} | self.server_environment
        if self.denies:
            self.server_words = ("--deny-list", self.authority.deny_list(), *self.server_words)
        as_user = {}
        if self.server_user:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, self.server_user)
            as_user = {"user": self.server_user, "extra_groups": []}
        self.server = subprocess.Popen(
            [self.build / "bin" / "farcall-server", "--listen", f"127.0.0.1:{self.listens_on}",
             "--control", self.control,
             "--cert", self.certificate, "--key", self.key, "--ca", self.authority.ca, "--driver", self.driver,
             "--port-file", self.folder / "port", "--off", OFF, "--audit", self.audit,
             "--module-cache", f"{self.module_cache}:{self.module_cache_size}",
             *self.server_words],
            env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, **as_user)
        # The log says when it listens: nothing to poll for.
        for line in self.server.stderr:
            self.log.append(line)
            if re.search(r"listening on \S+:\d+", line):
                break
        else:
            raise Failure(f"the server ended at once: {''.join(self.log)}")
        self.port = int((self.folder / "port").read_text())
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def __exit__(self, kind, value, trace):
        if self.server.poll() is None:
            self.server.terminate()
        try:
            self.server.wait(PATIENCE_S)
        finally:
            self.server.kill()
            if kind not in (None, SystemExit):  # a skipped test leaves by SystemExit
                self._reader.join(5)
                print("the server's log:\n" + "".join(self.log))
            shutil.rmtree(self.folder, ignore_errors=True)
        if kind is None:
            expect(self.server.returncode in (0, -signal.SIGKILL),
                   f"the server ended with {self.server.returncode}: {''.join(self.log)}")

    def program(self, name):
        return program(self.build, name)

    def url(self, port=None):
        """Where the server is. Over TCP unless FARCALL_TEST_CARRIER says otherwise: by itself a
        client on the server's host would take shared memory, past any proxy in between."""
        return f"{os.environ.get('FARCALL_TEST_CARRIER', 'tcp')}://127.0.0.1:{port or self.port}"

    def environment(self, port=None, client=None, ca=None, **more):
        """What makes a program use this pool."""
        certificate, key = client or self.client
        return clean_environment() | {
            "LD_PRELOAD": str(self.shim), "FARCALL_SERVER": self.url(port),
            "FARCALL_CERT": str(certificate), "FARCALL_KEY": str(key),
            "FARCALL_CA": str(ca or self.authority.ca), "FARCALL_OFF": OFF} | more

    def run(self, command, **more):
        return run(command, self.environment(**more))

    def start(self, command, **more):
        """A program left running; its output comes by .stdout."""
        return subprocess.Popen([str(word) for word in command], text=True,
                                env=self.environment(**more), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def farcall_run(self, command, client=None, ca=None, port=None):
        certificate, key = client or self.client
        return run([self.farcall, "run", "--server", self.url(port), "--cert",
                    certificate, "--key", key, "--ca", ca or self.authority.ca, "--", *command],
                   clean_environment())

    def _read_log(self):
        for line in self.server.stderr:
            with self._log_grew:
                self.log.append(line)
                self._log_grew.notify_all()

    def await_log(self, words):
        """Returns when the server's log holds these words; fails when that takes too long."""
        with self._log_grew:
            told = self._log_grew.wait_for(lambda: any(words in line for line in self.log),
                                           self.patience_s)
        expect(told, f"the server's log does not tell of {words!r}: {''.join(self.log)}")

    def await_sessions_end(self):
        """Returns when every session that the log tells of has ended, and its worker was waited for."""
        def open_ones():
            told = "".join(self.log)
            return told.count(": tenant ") - told.count(": ended, worker ")
        with self._log_grew:
            over = self._log_grew.wait_for(lambda: open_ones() == 0, self.patience_s)
        expect(over, f"{open_ones()} sessions never end: {''.join(self.log)}")

    def workers(self):
        """The process ids of the server's workers."""
        found = []
        for task in pathlib.Path(f"/proc/{self.server.pid}/task").iterdir():
            try:
                found += [int(pid) for pid in (task / "children").read_text().split()]
            except OSError:
                pass  # a thread that has just ended has none
        return found
