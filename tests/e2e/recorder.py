"""A TCP proxy that keeps every byte of both ways: a capture that needs no privilege.

    with Recorder(port) as recorder:      # connect to recorder.port instead of port
        …
    found = find_pattern(recorder.streams(), needles)
"""
import socket
import threading


class Recorder:
    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._streams = []  # one bytearray for each connection and way
        self._sockets = []
        self._threads = []

    def __enter__(self):
        self._spawn(self._accept)
        return self

    def __exit__(self, *_):
        # shutdown, not close: it wakes the thread that waits in accept.
        for one in (self._listener, *self._sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(10)
        for one in (self._listener, *self._sockets):
            one.close()

    def streams(self):
        with self._lock:
            return [bytes(stream) for stream in self._streams]

    def _spawn(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._sockets += [near, far]
                self._streams += [bytearray(), bytearray()]
                up, down = self._streams[-2:]
            self._spawn(self._copy, near, far, up)
            self._spawn(self._copy, far, near, down)

    def _copy(self, source, sink, kept):
        try:
            while part := source.recv(1 << 16):
                with self._lock:
                    kept += part
                sink.sendall(part)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def pieces(pattern, size=12):
    """Every run of `size` bytes of a repeated pattern, as it is and in hexadecimal: a packet's edge
    may cut the pattern anywhere, but not all of its repetitions in the same place."""
    doubled = pattern + pattern
    raw = {doubled[i:i + size] for i in range(len(pattern))}
    return raw | {piece.hex().encode() for piece in raw}


def find_pattern(streams, needles):
    """The first needle that any stream holds, or None."""
    for stream in streams:
        for needle in needles:
            if needle in stream:
                return needle
    return None
