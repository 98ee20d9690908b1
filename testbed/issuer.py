"""An issuer of ID tokens, for tests: discovery, keys, the device grant, and ways to misbehave."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE: Final = "gossamer-lab"
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
LIFETIME_S: Final = 600
PLAIN: Final = "http://127.0.0.1:1"


class Keys:
    """An issuer's keys, one for each algorithm; `kid` → the pair and its algorithm."""

    def __init__(self) -> None:
        self.pairs: dict[str, tuple[Any, str]] = {}
        self.add("rsa", rsa.generate_private_key(65537, 2048), "RS256")
        self.add("ec", ec.generate_private_key(ec.SECP256R1()), "ES256")
        self.add("ed", ed25519.Ed25519PrivateKey.generate(), "EdDSA")

    def add(self, kid: str, pair: Any, algorithm: str) -> None:
        self.pairs[kid] = (pair, algorithm)

    def sign(self, claims: Mapping[str, Any], kid: str = "rsa", **head: Any) -> str:
        pair, algorithm = self.pairs[kid]
        return jwt.encode(dict(claims), pair, algorithm, {"kid": kid, **head})

    def jwks(self) -> bytes:
        """Return what is published of them."""
        write: dict[str, Callable[..., Any]] = {
            "RS256": RSAAlgorithm.to_jwk,
            "ES256": ECAlgorithm.to_jwk,
            "EdDSA": OKPAlgorithm.to_jwk,
        }
        listed = [
            {**write[algorithm](pair.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, (pair, algorithm) in self.pairs.items()
        ]
        return json.dumps({"keys": listed}).encode()

    def pem(self, kid: str) -> str:
        public = self.pairs[kid][0].public_key()
        return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


class Issuer:
    """Serves on loopback until it is closed. `keys` may be changed, and what it does by `mood`.

    `people`: what the issuer says of who confirms a code, by subject.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        """`tls`: files of a certificate and its key, to be asked by https."""
        self.keys = Keys()
        self.people: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.mood = ""
        """"slow": answers when `go` is set; "drip": a byte now and then; "huge", "garbage",
        "elsewhere": redirects; "another": says that it is another issuer; "plain": that its keys
        are where nothing is encrypted."""
        self.go = threading.Event()
        self.errors: list[str] = []
        """What the token endpoint says first, before anything else."""
        self.interval_s = 0.05
        self.pending: dict[str, dict[str, Any]] = {}
        self._server = _Server(self)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="issuer", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def claims(self, subject: str = "1001", **said: Any) -> dict[str, Any]:
        now = int(time.time())
        known = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now}
        return {**known, "exp": now + LIFETIME_S, "preferred_username": "ada", **said}

    def token(self, subject: str = "1001", kid: str = "rsa", **said: Any) -> str:
        return self.keys.sign(self.claims(subject, **said), kid)

    def confirm(self, code: str, subject: str) -> None:
        """Do what a person does in a browser."""
        for each in self.pending.values():
            if each["user_code"] == code:
                each["subject"] = subject

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is asked -----------------------------------------------------------------------

    def answer(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        self.asked.append(path)
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._discovery()).encode()
            case "/keys":
                return 200, self.keys.jwks()
            case "/device":
                return self._device(form)
            case "/token":
                return self._token(form)
            case _:
                return 404, b"nothing here"

    def _discovery(self) -> dict[str, Any]:
        named = "https://another.example" if self.mood == "another" else self.url
        return {
            "issuer": named,
            "jwks_uri": f"{PLAIN if self.mood == 'plain' else self.url}/keys",
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
        }

    def _device(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        if form.get("client_id") != AUDIENCE:
            return 401, b'{"error": "invalid_client", "error_description": "no such client"}'
        code = secrets.token_hex(8)
        user_code = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper()
        self.pending[code] = {"user_code": user_code, "nonce": form.get("nonce")}
        said = {
            "device_code": code,
            "user_code": user_code,
            "verification_uri": f"{self.url}/activate",
            "expires_in": 300,
            "interval": self.interval_s,
        }
        return 200, json.dumps(said).encode()

    def _token(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        if self.errors:
            return 400, json.dumps({"error": self.errors.pop(0)}).encode()
        known = self.pending.get(form.get("device_code", ""))
        if known is None or form.get("grant_type") != GRANT:
            return 400, b'{"error": "invalid_grant"}'
        if "subject" not in known:
            return 400, b'{"error": "authorization_pending"}'
        subject = known["subject"]
        said = {"nonce": known["nonce"], **self.people.get(subject, {})}
        token = self.token(subject, **said)
        return 200, json.dumps({"id_token": token, "token_type": "Bearer"}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._answer(dict(parse_qsl(self.rfile.read(length).decode())))

    def _answer(self, form: Mapping[str, str]) -> None:
        status, body = self.server.issuer.answer(self.path, form)
        try:
            self._send(status, body)
        except OSError:
            # Who had asked has gone.
            self.close_connection = True

    def _send(self, status: int, body: bytes) -> None:
        issuer, where = self.server.issuer, ""
        match issuer.mood:
            case "slow":
                issuer.go.wait()
            case "drip":
                while not issuer.go.wait(0.05):
                    self.wfile.write(b"H")
            case "elsewhere":
                status, where = 302, PLAIN
            case "huge":
                body = b'{"a": "' + b"x" * 1024 * 1024 + b'"}'
            case "garbage":
                body = b'{"keys": ' + b"[" * 1000
            case _:
                pass
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if where:
            self.send_header("Location", where)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  as its parent has it
        """Say nothing: tests read what is said."""
