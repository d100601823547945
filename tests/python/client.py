"""A statistician's gRPC client in Python: no generated files, every message learnt from the server by reflection.

usage: client.py PORT AUTHORITY CERTIFICATE KEY datasets
       client.py PORT AUTHORITY CERTIFICATE KEY query AGREEMENT PURPOSE SQL
"""

import os
import pathlib
import sys
import time

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

Field = descriptor_pb2.FieldDescriptorProto


class Gateway:
    """Methods by name, with their messages as the server describes them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def call(self, service: str, method: str, **fields):
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)
        answer = message_factory.GetMessageClass(found.output_type)
        kind = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        ask = kind(
            f"/{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        return ask(request(**fields), timeout=60)


def datasets(gateway: Gateway) -> None:
    for dataset in gateway.call("firebreak.catalogue.v1.CatalogueService", "ListDatasets").datasets:
        print(dataset.id, dataset.agency)


def query(gateway: Gateway, agreement: str, purpose: str, sql: str) -> None:
    header = {
        "format": 1,
        "request_id": os.urandom(16),
        "agreement": agreement,
        "purpose": purpose,
        "expires": int(time.time()) + 600,
    }
    steps = gateway.call("firebreak.query.v1.QueryService", "RunQuery", header=header, question={"sql": sql})
    for step in steps:
        match step.WhichOneof("step"):
            case "accepted":
                outputs = [column.name for column in step.accepted.columns]
                print(*step.accepted.groups, *outputs, "standard_error")
            case "rows":
                for row in step.rows.rows:
                    figures = [figure for e in row.estimates for figure in (e.value, e.standard_error)]
                    print(*row.groups, *figures)
            case "released":
                print("release", step.released.release_id)


def error_types():
    """`google.rpc.Status` and `ErrorInfo` (google/rpc/status.proto, error_details.proto), as far as read here."""
    file = descriptor_pb2.FileDescriptorProto(name="rpc.proto", package="rpc", syntax="proto3")
    file.dependency.append("google/protobuf/any.proto")
    status = file.message_type.add(name="Status")
    repeated, optional = Field.LABEL_REPEATED, Field.LABEL_OPTIONAL
    status.field.add(
        name="details", number=3, label=repeated, type=Field.TYPE_MESSAGE, type_name=".google.protobuf.Any"
    )
    info = file.message_type.add(name="ErrorInfo")
    info.field.add(name="reason", number=1, label=optional, type=Field.TYPE_STRING)
    info.field.add(name="domain", number=2, label=optional, type=Field.TYPE_STRING)
    entry = info.nested_type.add(name="MetadataEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=optional, type=Field.TYPE_STRING)
    entry.field.add(name="value", number=2, label=optional, type=Field.TYPE_STRING)
    info.field.add(
        name="metadata", number=3, label=repeated, type=Field.TYPE_MESSAGE, type_name=".rpc.ErrorInfo.MetadataEntry"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"rpc.{name}") for name in ("Status", "ErrorInfo"))
    return [message_factory.GetMessageClass(descriptor) for descriptor in found]


def show_refusal(error: grpc.RpcError) -> None:
    status_type, info_type = error_types()
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    for detail in status_type.FromString(details).details:
        if detail.type_url.endswith("/google.rpc.ErrorInfo"):
            info = info_type.FromString(detail.value)
            print("refused", info.domain, info.reason)
            for key in sorted(info.metadata):
                print(key, info.metadata[key].splitlines()[0])
            return
    raise error


def main() -> None:
    port, authority, certificate, key, act, *arguments = sys.argv[1:]
    authority, certificate, key = (pathlib.Path(file).read_bytes() for file in (authority, certificate, key))
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        acts = {"datasets": datasets, "query": query}
        try:
            acts[act](Gateway(channel), *arguments)
        except grpc.RpcError as error:
            show_refusal(error)


main()
