"""A stand-in for an Azure Machine Learning online endpoint, over TLS on loopback.

It wants its own credential, picks the deployment by header, wraps what a container refuses into
424 and answers 404, 408 and 429 for itself, as the recorded contract says. It does not prove that
Azure behaves so today, nor anything of Azure's network, identity or streaming.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Azure:
    """Where it listens, whose certificate it shows, and what it was asked."""

    url: str
    certificate: Path
    credential: str = "azure-credential-of-this-test"
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(folder: Path) -> Iterator[Azure]:
    """Run the endpoint on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.whole(404, b"", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            azure.asked.append(headers)
            if headers.get("authorization") != f"Bearer {azure.credential}":
                return self.whole(401, b"key_auth_access_denied", {})
            asked = json.loads(body)
            if status := asked.get("own"):
                return self.whole(status, b"upstream request timeout", {})
            if status := asked.get("status"):
                model = {
                    "ms-azureml-model-error-reason": "model_error",
                    "ms-azureml-model-error-statuscode": str(status),
                }
                return self.whole(424, b'{"message": "as told"}', model)
            if asked.get("stream"):
                return self.stream()
            name = headers.get("azureml-model-deployment", "blue")
            self.whole(200, json.dumps({"name": name, "path": self.path}).encode(), {})

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for text in ("one", "two"):
                event = f'data: {{"answer": "{text}"}}\n\n'.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.write(b"0\r\n\r\n")

        def whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    certificate, key = _certificate(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    azure = Azure(f"https://localhost:{server.server_port}", certificate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield azure
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
