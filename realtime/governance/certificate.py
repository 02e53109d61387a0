"""The certificate that signs what the model draws: the operator's own, or one that this server makes for itself.

C2PA asks for a chain (an end-entity certificate that may sign, and who issued it) with an extended key usage; a
self-made chain is valid, and trusted by whoever is given its root. Content Credentials specification 2.x, section 14.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEARS = 10
FOLDER = "provenance"  # in the data folder
CHAIN, KEY = "certificate.pem", "key.pem"


class CertificateError(ValueError):
    """A certificate or key that cannot sign. The message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What signs: the chain, the signer's first, and its key, both PEM; `algorithm` as C2PA names it."""

    chain: bytes
    key: bytes
    algorithm: str

    @property
    def root(self) -> bytes:
        """The last certificate of the chain, PEM: what others trust."""
        return x509.load_pem_x509_certificates(self.chain)[-1].public_bytes(serialization.Encoding.PEM)


def credential(folder: Path, chain: Path | None = None, key: Path | None = None) -> Credential:
    """The operator's files where both are named, else those in `folder`, made at the first use (the key readable by
    its owner alone). Raises CertificateError."""
    if (chain is None) != (key is None):
        raise CertificateError("a certificate of your own needs both files: the chain and its private key")
    if chain is not None and key is not None:
        return _read(chain, key)
    own, secret = folder / CHAIN, folder / KEY
    if not (own.is_file() and secret.is_file()):
        _write(folder, *_made(datetime.now(UTC)))
    return _read(own, secret)


def _read(chain: Path, key: Path) -> Credential:
    try:
        pem, secret = chain.read_bytes(), key.read_bytes()
    except OSError as error:
        raise CertificateError(f"{error.filename} cannot be read: {error.strerror}") from None
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(f"{chain} holds no PEM certificates") from None
    try:
        private = serialization.load_pem_private_key(secret, None)
    except (ValueError, TypeError):
        raise CertificateError(f"{key} is not a PEM private key without a password") from None
    first = certificates[0]
    if first.public_key() != private.public_key():
        raise CertificateError(f"the key {key} is not that of the first certificate in {chain}")
    if not first.not_valid_before_utc <= datetime.now(UTC) <= first.not_valid_after_utc:
        raise CertificateError(f"{chain} is valid until {first.not_valid_after_utc:%Y-%m-%d}; renew it")
    return Credential(pem, secret, _algorithm(private, key))


def _algorithm(key: object, path: Path) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in known:
            return known[key.curve.name]
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    elif isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise CertificateError(
        f"{path}: C2PA signs with ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048 bits and up"
    )


def _made(now: datetime) -> tuple[bytes, bytes]:
    """(chain, key), PEM. The root's key is forgotten, so that nothing else can ever be issued under it."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, signer = _name("worldstream self-made root"), _name("worldstream, self-made")
    issued = (
        _begun(authority, authority, root, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(root, hashes.SHA256())
    )
    own = (
        _begun(signer, authority, leaf, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return own.public_bytes(pem) + issued.public_bytes(pem), key


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "worldstream")  # verifiers ask for one
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, chain: bytes, key: bytes) -> None:
    """Each whole or not at all; another process that does the same at once may win, and both files stay a pair."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f".{os.getpid()}-{os.urandom(4).hex()}"
    made.mkdir(mode=0o700)
    try:
        (made / CHAIN).write_bytes(chain)
        (made / KEY).write_bytes(key)
        (made / KEY).chmod(0o600)
        lock = folder / ".made"
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            if (folder / CHAIN).is_file() and (folder / KEY).is_file():
                return  # the other one was quicker
        (made / KEY).replace(folder / KEY)
        (made / CHAIN).replace(folder / CHAIN)
    finally:
        for file in made.iterdir():
            file.unlink()
        made.rmdir()
