"""Serve a folder on localhost, compressed as public hosts do."""

import functools
import gzip
import http.server
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg+xml")
# Not every system knows them.
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Answers with gzip where the type gains by it, and with the 404 page.

    The folder stands below `prefix`, as a project's site does on a public host.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, prefix: str, **options):
        self.prefix = prefix
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Send one file."""
        inside = self.path.startswith(self.prefix)
        path = Path(
            self.translate_path(self.path.removeprefix(self.prefix.rstrip("/")))
        )
        path = path / "index.html" if path.is_dir() else path
        status = 200 if inside and path.is_file() else 404
        if status == 404:
            path = Path(self.directory) / "404.html"
        body = path.read_bytes() if path.is_file() else b"not found"
        kind = self.guess_type(str(path))
        self.send_response(status)
        self.send_header("Content-Type", with_charset(kind))
        if kind.startswith(COMPRESSED):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Keep quiet."""


def with_charset(kind: str) -> str:
    """All texts of the book are UTF-8."""
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


@contextmanager
def serving(folder: Path, prefix: str = "/") -> Iterator[str]:
    """The address of a folder that is served while the block runs."""
    handler = functools.partial(Handler, directory=str(folder), prefix=prefix)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
