"""A statistician's program over Flight SQL: the public ADBC driver, pandas, and nothing of this project.

usage: flight.py PORT AUTHORITY CERTIFICATE KEY ACT, with the act's arguments as JSON on standard input. Prints JSON.
"""

import base64
import json
import pathlib
import sys
import warnings

import adbc_driver_flightsql.dbapi as flight
import pandas
import pyarrow
from adbc_driver_flightsql import DatabaseOptions

HEADER = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value


def connect(options: dict, **more) -> flight.Connection:
    port, authority, certificate, key = sys.argv[1:5]
    tls = {
        DatabaseOptions.TLS_ROOT_CERTS.value: pathlib.Path(authority).read_text(),
        DatabaseOptions.MTLS_CERT_CHAIN.value: pathlib.Path(certificate).read_text(),
        DatabaseOptions.MTLS_PRIVATE_KEY.value: pathlib.Path(key).read_text(),
    }
    more.setdefault("autocommit", True)
    return flight.connect(f"grpc+tls://localhost:{port}", db_kwargs=tls | options, **more)


def under(asked: dict) -> dict:
    names = {"firebreak-agreement": "agreement", "firebreak-purpose": "purpose"}
    return {HEADER + header: asked[key] for header, key in names.items() if key in asked}


def told(schema: pyarrow.Schema) -> dict:
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}


def columns(schema: pyarrow.Schema) -> list:
    return [[field.name, str(field.type), field.nullable] for field in schema]


def table(found: pyarrow.Table) -> dict:
    return {"columns": columns(found.schema), "told": told(found.schema), "rows": found.to_pylist()}


def frame(asked: dict) -> dict:
    """The answer as pandas has it, and as Arrow does."""
    with connect(under(asked)) as connection:
        shown = pandas.read_sql(asked["sql"], connection)
        with connection.cursor() as cursor:
            cursor.execute(asked["sql"])
            return {
                "frame": json.loads(shown.to_json(orient="records", double_precision=15)),
                "kinds": [str(kind) for kind in shown.dtypes],
                "table": table(cursor.fetch_arrow_table()),
            }


def describe(asked: dict) -> dict:
    """Prepares a question, asks for its schema as prepared and by GetSchema, and for its ticket by GetFlightInfo."""
    with connect(under(asked)) as connection, connection.cursor() as cursor, connection.cursor() as unprepared:
        cursor.adbc_prepare(asked["sql"])
        prepared = cursor.adbc_execute_schema(asked["sql"])
        unprepared.adbc_statement.set_sql_query(asked["sql"])
        schema = pyarrow.schema(unprepared.adbc_statement.execute_schema())
        tickets, _ = unprepared.adbc_execute_partitions(asked["sql"])
        return {
            "prepared": columns(prepared),
            "schema": columns(schema),
            "told": told(schema),
            "tickets": [base64.b64encode(ticket).decode() for ticket in tickets],
        }


def show(asked: dict) -> dict:
    """Shows a ticket, on a connection that names no agreement."""
    with connect({}) as connection, connection.cursor() as cursor:
        cursor.adbc_read_partition(base64.b64decode(asked["ticket"]))
        return table(cursor.fetch_arrow_table())


def browse(asked: dict) -> dict:
    """What a tool asks for its tree of agencies, schemas, tables and columns."""
    with connect({}) as connection:
        found = connection.adbc_get_objects(**asked).read_all().to_pylist()
        schema = connection.adbc_get_table_schema("visits", db_schema_filter="health")
        return {
            "objects": found,
            "types": connection.adbc_get_table_types(),
            "server": connection.adbc_get_info()["vendor_name"],
            "visits": columns(schema),
            "told": told(schema),
        }


def refused(asked: dict) -> list:
    """Every way of doing what is not done here, and what each ends with."""
    sql = asked["sql"]

    def execute(cursor):
        cursor.execute(sql)

    def ingest(cursor):
        cursor.adbc_ingest("visits", pyarrow.table({"region": ["R01"]}), mode="append")

    def update(cursor):
        cursor.adbc_statement.set_sql_query("DELETE FROM health.visits")
        cursor.adbc_statement.execute_update()

    def prepared_update(cursor):
        cursor.adbc_statement.set_sql_query(sql)
        cursor.adbc_statement.prepare()
        cursor.adbc_statement.execute_update()

    def parameters(cursor):
        cursor.adbc_statement.set_sql_query(sql)
        cursor.adbc_statement.prepare()
        cursor._bind(pyarrow.record_batch({"0": [1]}))
        cursor.adbc_statement.execute_query()

    def substrait(cursor):
        cursor.adbc_statement.set_substrait_plan(b"plan")
        cursor.adbc_statement.execute_query()

    def transaction(cursor):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            connect(under(asked), autocommit=False)

    def password(cursor):
        connect(under(asked) | {"username": "ada", "password": "secret"})

    acts = [execute, ingest, update, prepared_update, parameters, substrait, transaction, password]
    ends = {}
    with connect(under(asked)) as connection:
        for act in acts:
            with connection.cursor() as cursor:
                try:
                    act(cursor)
                    ends[act.__name__] = ["no exception", ""]
                except (connection.Error, Warning) as error:
                    ends[act.__name__] = [type(error).__name__, str(error)]
    return ends


ACTS = {act.__name__: act for act in (frame, describe, show, browse, refused)}

try:
    print(json.dumps(ACTS[sys.argv[5]](json.load(sys.stdin)), default=str))
except (flight.Error, pandas.errors.DatabaseError) as error:
    print(json.dumps({"exception": type(error).__name__, "says": str(error)}))
