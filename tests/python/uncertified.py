"""Calls methods, one `PATH HEX` a line on standard input, and prints `PATH CODE` for each.

usage: uncertified.py PORT AUTHORITY [CERTIFICATE KEY]

Without a certificate of its own it shows that nobody is served unknown.
"""

import pathlib
import sys

import grpc


def main() -> None:
    port, authority, *shown = sys.argv[1:]
    certificate, key = (pathlib.Path(file).read_bytes() for file in shown) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes(), key, certificate)
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        for line in sys.stdin:
            path, _, request = line.strip().partition(" ")
            print(path, code_of(channel, path, bytes.fromhex(request)))


def code_of(channel: grpc.Channel, path: str, request: bytes) -> str:
    """The first thing that the other side says: a message counts as OK."""
    answers = channel.stream_stream(path)(iter([request]), timeout=10)
    try:
        next(answers)
        return "OK"
    except StopIteration:
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


main()
