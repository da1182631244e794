"""A way to a server that is slow, goes dead, or breaks off."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BLOCK = 16 * 1024


class Relay:
    """Forwards bytes between its own port and a server's, with the configured faults."""

    def __init__(self, port: int, *, bytes_per_second: float = 0, break_after: int = 0) -> None:
        self._target = port
        self._pause = _BLOCK / bytes_per_second if bytes_per_second else 0.0
        self._break_after = break_after
        self._ends: list[socket.socket] = []
        self.dead = threading.Event()
        """Set, it passes nothing any more."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it, and every connection."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                # what waits in buffers passes without waiting for us
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
                self._ends += [client, server]
                breaks, self._break_after = self._break_after, 0
                for source, sink, most in ((client, server, 0), (server, client, breaks)):
                    threading.Thread(
                        target=self._pass, args=(source, sink, most), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, most: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                while self.dead.is_set():
                    time.sleep(0.01)
                time.sleep(self._pause)
                sink.sendall(block)
                passed += len(block)
                if most and passed > most:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relayed(port: int, *, bytes_per_second: float = 0, break_after: int = 0) -> Iterator[Relay]:
    """Put a relay in front of a port of the loopback while the `with` block runs.

    Args:
        break_after: how many bytes the first connection answers before it breaks off.
    """
    relay = Relay(port, bytes_per_second=bytes_per_second, break_after=break_after)
    try:
        yield relay
    finally:
        relay.close()
