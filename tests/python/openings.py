"""Opens sealed openings with an implementation of RFC 9180 that is not ours.

Arguments: a file that `firebreak audit fetch` wrote, and an overseer's key file. From standard input a line for each leaf,
its number and its commitment in hexadecimal. Prints, for each, its number, the opening's payload and the request, both in
hexadecimal.
"""

import base64
import hashlib
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
INFO = b"firebreak sealed opening format 1"
WRAPPED = 80


def content_key(sealed: bytes, key: X25519PrivateKey) -> bytes:
    for reader in range(sealed[1]):
        begin = 2 + reader * WRAPPED
        try:
            return SUITE.decrypt(sealed[begin : begin + WRAPPED], key, info=INFO)
        except Exception:  # sealed to another reader
            continue
    sys.exit("not sealed to this key")


def open_sealed(sealed: bytes, key: X25519PrivateKey, commitment: bytes) -> tuple[bytes, bytes]:
    assert sealed[0] == 1, "another format"
    rest = sealed[2 + sealed[1] * WRAPPED :]
    plain = ChaCha20Poly1305(content_key(sealed, key)).decrypt(rest[:12], rest[12:], commitment)
    random, length = plain[:32], int.from_bytes(plain[32:36], "big")
    payload, request = plain[36 : 36 + length], plain[36 + length :]
    found = hashlib.sha256(b"firebreak opening format 1" + random + payload).digest()
    assert found == commitment, "the leaf commits to something else"
    return payload, request


def main() -> None:
    with open(sys.argv[2], encoding="ascii") as file:
        secret = file.read().strip().removeprefix("x25519-secret:")
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    with open(sys.argv[1], encoding="ascii") as file:
        lines = file.read().splitlines()
    assert lines[0] == "firebreak openings format 1", "not a file of sealed openings"
    openings = dict(line.split(" ", 1) for line in lines[1:])
    for line in sys.stdin:
        index, commitment = line.split()
        payload, request = open_sealed(base64.b64decode(openings[index]), key, bytes.fromhex(commitment))
        print(index, payload.hex() or "-", request.hex() or "-")


main()
