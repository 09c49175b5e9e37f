"""A Hub on loopback: the endpoints that ``huggingface_hub`` calls to read and to push models, over real HTTP.

Repositories live in memory: every push makes a commit, branches name commits, private ones want a token.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

TOKEN = "hf_localtesttoken"
API = r"/api/(?:models|datasets)/([\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    """Commits (sha -> path -> content), branches (name -> sha), and whether a token is wanted."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files on top of a branch; returns the commit's sha."""
        parent = self.branches.get(branch, "")
        content = {**self.commits.get(parent, {}), **files}
        digest = hashlib.sha1(parent.encode())
        for path in sorted(content):
            digest.update(path.encode() + content[path])
        self.commits[digest.hexdigest()] = content
        self.branches[branch] = digest.hexdigest()
        return digest.hexdigest()

    def resolve(self, revision: str) -> str | None:
        """A branch or sha -> sha."""
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None


class LocalHub:
    """``with LocalHub() as hub``: ``hub.endpoint`` is what HF_ENDPOINT names; ``hub.requests`` what was asked.

    ``hub.faults`` says which files, or ``api``, are served badly: redirect (without end), longer and shorter (than was
    announced), html (for JSON), endless, gone, torn; or a status, such as 429.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.faults: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the Hub off the network."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        place = "api" if self.path.startswith("/api/") else self.path.rpartition("/")[2]
        fault = self.hub.faults.get(place)
        if fault and self._misbehave(fault):
            return
        if found := re.fullmatch(rf"{API}(?:/revision/([^/?]+))?(?:\?.*)?", self.path):
            self._model_info(found[1], found[2] or "main")
        elif found := re.fullmatch(rf"{API}/tree/([^/?]+)(?:/([^?]*))?(?:\?.*)?", self.path):
            self._tree(found[1], found[2], found[3] or "")
        elif found := re.fullmatch(r"(?:/datasets)?/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([^?]+)(?:\?.*)?", self.path):
            self._file(found[1], found[2], found[3])
        else:
            self._answer(404, {"error": f"unknown route {self.path}"})

    do_HEAD = do_GET  # noqa: N815

    def _misbehave(self, fault: str) -> bool:
        """Answer badly; false where this request is answered well, such as one for the size alone."""
        if fault.isdecimal():
            self._answer(int(fault), {"error": "refused"})
        elif fault == "redirect":
            self._answer(302, b"", {"Location": f"{self.hub.endpoint}{self.path}"})
        elif fault == "gone":
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound" if "/api/" in self.path else "EntryNotFound"})
        elif fault == "html":
            page = b"<html>Please log in.</html>"
            (commit, *_) = (repository.branches["main"] for repository in self.hub.repositories.values())
            self._answer(200, page, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(page).hexdigest()}"'})
        elif self.command == "HEAD":
            return False
        elif fault in ("longer", "shorter"):
            self._answer(200, bytes(1_000_000 if fault == "shorter" else 20_000_000))
        else:
            torn, chunk = fault == "torn", bytes(2**20)
            self.send_response(200)
            self.send_header(*(("Content-Length", "20000000") if torn else ("Transfer-Encoding", "chunked")))
            self.end_headers()
            with contextlib.suppress(OSError):  # until the client has had enough
                self.wfile.write(bytes(1000) if torn else b"")
                while not torn:
                    self.wfile.write(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
            self.close_connection = torn
        return True

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if found := re.fullmatch(rf"{API}/paths-info/([^/?]+)", self.path):
            self._tree(found[1], found[2], *parse_qs(body.decode())["paths"])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "a token is wanted"})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif re.fullmatch(r"/api/models/[\w.-]+/[\w.-]+/preupload/.+", self.path):
            settled = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer(200, {"files": [{"path": file["path"], **settled} for file in json.loads(body)["files"]]})
        elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/commit/([^/?]+)(?:\?.*)?", self.path):
            self._commit(found[1], found[2], body)
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        else:
            self._answer(404, {"error": f"unknown route {self.path}"})

    def _create(self, wanted: dict) -> None:
        owner = wanted.get("organization") or "tester"
        name = f"{owner}/{wanted['name']}"
        known = name in self.hub.repositories
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.repositories.setdefault(name, Repository(private=private))
        self.hub.repositories[name].branches or self.hub.repositories[name].commit({".gitattributes": b""})
        self._answer(409 if known else 200, {"url": f"{self.hub.endpoint}/{name}", "id": name})

    def _commit(self, name: str, branch: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        sha = self.hub.repositories[name].commit(files, branch)
        url = f"{self.hub.endpoint}/{name}/commit/{sha}"
        self._answer(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    def _model_info(self, name: str, revision: str) -> None:
        if (repository := self._readable(name)) is None:
            return
        if (sha := repository.resolve(revision)) is None:
            self._answer(404, {"error": "no such revision"}, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [{"rfilename": path} for path in repository.commits[sha]]
        facts = {"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": siblings}
        self._answer(200, facts)

    def _tree(self, name: str, revision: str, *places: str) -> None:
        """List these files, and the files and folders in these folders."""
        if (repository := self._readable(name)) is not None:
            files = repository.commits[repository.resolve(revision) or ""]
            roots = tuple(f"/{place}/".replace("//", "/") for place in places)
            inside = [path for path in files if f"/{path}/".startswith(roots)]
            listing = [
                {"type": "file", "oid": hashlib.sha1(files[path]).hexdigest(), "size": len(files[path]), "path": path}
                for path in inside
            ]
            folders = {path.rpartition("/")[0] for path in inside} - {"", *places}
            listing += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
            self._answer(200, listing) if listing else self._answer(404, {}, {"X-Error-Code": "EntryNotFound"})

    def _file(self, name: str, revision: str, path: str) -> None:
        if (repository := self._readable(name)) is None:
            return
        sha = repository.resolve(revision)
        content = repository.commits.get(sha or "", {}).get(path)
        if content is None:
            self._answer(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
        else:
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            part = content[int(asked[1]) : int(asked[2] or len(content)) + 1] if asked else content
            self._answer(206 if asked else 200, part, {"X-Repo-Commit": sha, "ETag": etag})

    def _readable(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            self._answer(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet; ``requests`` remembers."""
