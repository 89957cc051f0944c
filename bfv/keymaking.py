# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates made, and the fingerprints that nova shows of them (``nova/crypto.py``)."""

import base64
import datetime as dt
import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from bfv.errors import BadRequest

SSH, X509 = "ssh", "x509"
BITS, DAYS = 2048, 3650
USER_PRINCIPAL = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


def fingerprint(kind: str, public_key: str) -> str:
    """Return the fingerprint of a public key, or with x509 of a certificate. Raises BadRequest for what is none."""
    return {SSH: ssh_fingerprint, X509: x509_fingerprint}[kind](public_key)


def make(kind: str, user_id: str) -> tuple[str, str]:
    """Return a new private key and its public one; for x509 a PKCS#12 in base64 and a certificate.

    ``nova/crypto.py:generate_key_pair, generate_winrm_x509_cert``.
    """
    key = rsa.generate_private_key(65537, BITS)
    if kind == X509:
        certificate = _certificate(key, user_id)
        bundle = pkcs12.serialize_key_and_certificates(None, key, certificate, None, serialization.NoEncryption())
        return base64.b64encode(bundle).decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    encoded = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, f"{encoded.decode()} Generated-by-Nova"


def ssh_fingerprint(public_key: str) -> str:
    """Return the MD5 fingerprint of a public key in OpenSSH's form. Raises BadRequest."""
    try:
        serialization.load_ssh_public_key(public_key.encode())
        data = base64.b64decode(public_key.split(" ")[1])
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise BadRequest("Keypair data is invalid: failed to generate fingerprint") from error
    return _in_pairs(hashlib.md5(data, usedforsecurity=False).hexdigest())


def x509_fingerprint(pem: str) -> str:
    """Return the SHA-1 fingerprint of a certificate. Raises BadRequest."""
    try:
        digest = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA1())  # noqa: S303 - nova's
    except ValueError as error:
        raise BadRequest("Keypair data is invalid: failed to generate X509 fingerprint. It is no certificate in PEM."
                         ) from error  # fmt: skip
    return _in_pairs(digest.hex())


def _certificate(key: rsa.RSAPrivateKey, user_id: str) -> x509.Certificate:
    """Return a certificate by which a user logs in to WinRM without a password."""
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id[:64])])
    now = dt.datetime.now(dt.UTC)
    principal = f"{user_id}@localhost".encode()
    # DER of a UTF8String.
    other = x509.OtherName(USER_PRINCIPAL, bytes([0x0C, len(principal)]) + principal)
    return (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=DAYS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _in_pairs(digest: str) -> str:
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
