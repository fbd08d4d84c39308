"""A small Hub: repositories of one commit each, over HTTP, as huggingface_hub asks for them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class StandIn:
    """What is there, by ``org/name``, and what was asked for."""

    url: str
    repositories: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    """``org/name/path`` of every file whose content was sent."""

    def commit(self, name: str) -> str:
        return hashlib.sha1(name.encode()).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@contextmanager
def hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[StandIn]:
    """Serve repositories on loopback. Each has the revisions main, v1 and its commit."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if parts[:2] == ["api", "models"]:
                self.answer_api("/".join(parts[2:4]), parts[4:])
            elif parts[2:3] == ["resolve"]:
                self.answer_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self.fail(404, "EntryNotFound")

        def known(self, name: str, revision: str) -> bool:
            if name in stand_in.gated:
                self.fail(403, "GatedRepo")
            elif name not in stand_in.repositories:
                self.fail(404, "RepoNotFound")
            elif revision not in ("main", "v1", stand_in.commit(name)):
                self.fail(404, "RevisionNotFound")
            else:
                return True
            return False

        def answer_api(self, name: str, rest: list[str]) -> None:
            revision = rest[1] if len(rest) > 1 else "main"
            if not self.known(name, revision):
                return
            files = stand_in.repositories[name]
            if rest[:1] == ["tree"]:
                self.send_json([self.entry(path, content) for path, content in files.items()])
            else:
                siblings = [{"rfilename": path} for path in files]
                self.send_json({"id": name, "sha": stand_in.commit(name), "siblings": siblings, "private": False})

        def entry(self, path: str, content: bytes) -> dict[str, Any]:
            return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

        def answer_file(self, name: str, revision: str, path: str) -> None:
            if not self.known(name, revision):
                return
            content = stand_in.repositories[name].get(path)
            if content is None:
                self.fail(404, "EntryNotFound")
                return
            if self.command == "GET":
                stand_in.fetched.append(f"{name}/{path}")
            headers = {
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": stand_in.commit(name),
                "Accept-Ranges": "bytes",
            }
            self.send(200, content, headers)

        def send_json(self, content: object) -> None:
            self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def fail(self, status: int, code: str) -> None:
            self.send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = StandIn(f"http://127.0.0.1:{server.server_address[1]}", repositories)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
