"""A proxy before a server of HTTP that, when told to, answers with errors, drops connections or leaves them hanging."""

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal

Mood = Literal["passes", "errors", "drops", "hangs"]
SILENCE_SECONDS = 0.05  # after which a request is taken to be here in full
CHUNK = 1 << 16
ANSWERS = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
)


class Proxy:
    """Passes connections to `address` on to the server at `upstream`, as its `mood` has it."""

    def __init__(self, upstream: tuple[str, int], seed: int) -> None:
        self.mood: Mood = "passes"
        self.troubled = 0  # connections that met a fault
        self._upstream = upstream
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> "Proxy":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # wakes the thread that waits in accept
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _start(self, work: Callable[..., object], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._upstream, timeout=10) as server:
            while not self._over.is_set():
                mood = self.mood
                if mood == "hangs":
                    self._hang()
                    return
                readable, _, _ = select.select([client, server], [], [], SILENCE_SECONDS)
                if server in readable and not _relay(server, client):
                    return
                if client not in readable:
                    continue
                if mood == "errors":
                    self._answer(client)
                    return
                if mood == "drops":
                    self._drop(client, server)
                    return
                if not _relay(client, server):
                    return

    def _hang(self) -> None:
        """Say nothing for as long as the mood lasts."""
        self.troubled += 1
        while self.mood == "hangs" and not self._over.is_set():
            time.sleep(SILENCE_SECONDS)

    def _answer(self, client: socket.socket) -> None:
        self.troubled += 1
        _read_until_silent(client)
        client.sendall(self._random.choice(ANSWERS))
        client.shutdown(socket.SHUT_WR)
        _read_until_silent(client)

    def _drop(self, client: socket.socket, server: socket.socket) -> None:
        """Reset the connection: before the server has seen the request, or after it has done what it asks for."""
        self.troubled += 1
        if self._random.random() < 0.5:
            server.sendall(_read_until_silent(client))
            _read_until_silent(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _relay(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what is there; False where the source has closed."""
    content = source.recv(CHUNK)
    target.sendall(content)
    return bool(content)


def _read_until_silent(source: socket.socket) -> bytes:
    content = b""
    while select.select([source], [], [], SILENCE_SECONDS)[0]:
        chunk = source.recv(CHUNK)
        if not chunk:
            break
        content += chunk
    return content
