"""A TLS client that is not ours: any version, any certificate or none. Prints how the server took it.

usage: handshake.py PORT AUTHORITY VERSION [CERTIFICATE KEY]    (PEM, or DER)

Prints `accepted TLSv1.3`, once the server has spoken after the handshake, or `refused REASON`.
"""

import base64
import pathlib
import socket
import ssl
import sys
import tempfile

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def as_pem(path: str, label: str) -> bytes:
    content = pathlib.Path(path).read_bytes()
    if content.startswith(b"-----"):
        return content
    body = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


def context(authority: str, version: str, shown: list[str]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    made.load_verify_locations(authority)
    made.set_alpn_protocols(["h2"])
    if shown:
        certificate, key = shown
        with tempfile.NamedTemporaryFile() as both:
            both.write(as_pem(certificate, "CERTIFICATE") + as_pem(key, "PRIVATE KEY"))
            both.flush()
            made.load_cert_chain(both.name)
    return made


def main() -> None:
    port, authority, version, *shown = sys.argv[1:]
    tls = context(authority, version, shown)
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as tcp:
            with tls.wrap_socket(tcp, server_hostname="localhost") as stream:
                # In TLS 1.3 a client learns only after its own handshake whether its certificate was taken.
                first = stream.recv(64)
                print(f"accepted {stream.version()}" if first else "refused connection closed")
    except ssl.SSLError as error:
        print(f"refused {error.reason}")
    except OSError as error:
        print(f"refused {error}")


main()
