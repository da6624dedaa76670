"""Certificates for servers that stand on this machine while a test runs."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services import LOOPBACK


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
