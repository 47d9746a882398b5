"""One small HTTP server a process: `/livez`, `/readyz` and `/metrics` on one port, on loopback unless configured.

It knows nothing of what it reports: the worker hands in two functions, called from the server's threads.
"""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

TEXT = "text/plain; charset=utf-8"


class HealthServer:
    """Answers from a thread of its own, from `start` (or entering the context) to `close`.

    `heartbeat_age_s` gives the seconds since the loop last came round: over `max_heartbeat_age_s` the process counts as
    stuck and `/livez` says 503, for the supervisor to restart it. `not_ready_because` gives None when the process does
    its work, else the reason in words; `lately` how that went of late.
    Port 0 takes any free port; `port` says which. Raises OSError from the constructor where the port is taken.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        heartbeat_age_s: Callable[[], float],
        not_ready_because: Callable[[], str | None],
        lately: Callable[[], str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_heartbeat_age_s: float = 60.0,
    ) -> None:
        def livez() -> tuple[int, str]:
            age_s = heartbeat_age_s()
            if age_s > max_heartbeat_age_s:
                return 503, f"stuck: the loop last came round {age_s:.1f} s ago (limit {max_heartbeat_age_s:g} s)"
            return 200, "alive"

        def readyz() -> tuple[int, str]:
            reason = not_ready_because()
            return (200, f"ready; {lately()}") if reason is None else (503, f"not ready: {reason}")

        pages = {"/livez": livez, "/readyz": readyz}

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds for a client that connects and says nothing

            def do_GET(self) -> None:
                path = self.path.split("?", 1)[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in pages:
                    status, text = pages[path]()
                    self._answer(status, TEXT, f"{text}\n".encode())
                else:
                    self._answer(404, TEXT, b"here are /livez, /readyz and /metrics\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: a probe every few seconds is no news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port. Harmless when called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
