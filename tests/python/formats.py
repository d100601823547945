"""Reads an answer's file with packages that are not ours, and prints what they found as JSON.

Arguments: `sdmx`, a file, the ids of its dimensions, of which TIME_PERIOD is the time; or `parquet`, a file.
"""

import json
import logging
import math
import sys

import fastparquet
import sdmx
from sdmx.model import common, v30

ATTRIBUTES = [
    "OBS_STATUS",
    "CONF_STATUS",
    "STD_ERROR",
    "LOWER_95",
    "UPPER_95",
    "RANK_ERROR",
    "COMMENT_OBS",
    "RELEASE_ID",
    "CUT",
    "LEFT_OUT",
]


class Complaints(logging.Handler):
    """The reader passes over a column that the structure does not have, or that the file does not have, and only logs it:
    here that is a failure. What else it logs is said of every column."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.levelno >= logging.WARNING or "detected as custom" in said:
            sys.exit(f"{record.name}: {said}")


def structure(dimensions: list[str]) -> v30.DataStructureDefinition:
    defined = v30.DataStructureDefinition(id="ANSWER", maintainer=common.Agency(id="FIREBREAK"), version="1.0.0")
    for id in dimensions:
        kind = common.TimeDimension if id == "TIME_PERIOD" else common.Dimension
        defined.dimensions.append(kind(id=id))
    defined.measures.append(v30.Measure(id="OBS_VALUE"))
    for id in ATTRIBUTES:
        defined.attributes.append(common.DataAttribute(id=id))
    return defined


def read_sdmx(path: str, dimensions: list[str]) -> dict:
    log = logging.getLogger("sdmx")
    log.setLevel(logging.INFO)
    log.addHandler(Complaints())
    message = sdmx.read_sdmx(path, structure=structure(dimensions))
    assert len(message.data) == 1, "one data set, of one action"
    data = message.data[0]
    return {
        "action": data.action.name,
        "observations": [
            {
                "key": {id: value.value for id, value in observation.dimension.values.items()},
                "value": observation.value,
                "attributes": {id: a.value for id, a in observation.attached_attribute.items()},
            }
            for observation in data.obs
        ],
    }


def read_parquet(path: str) -> dict:
    file = fastparquet.ParquetFile(path)
    table = file.to_pandas()
    rows = table.to_dict(orient="records")
    absent = lambda value: None if isinstance(value, float) and math.isnan(value) else value
    return {
        "metadata": {key: value for key, value in file.key_value_metadata.items() if not key.startswith("ARROW:")},
        "columns": list(table.columns),
        "rows": [{name: absent(value) for name, value in row.items()} for row in rows],
    }


def main() -> None:
    what, path, *dimensions = sys.argv[1:]
    found = read_sdmx(path, dimensions) if what == "sdmx" else read_parquet(path)
    json.dump(found, sys.stdout, allow_nan=False)


main()
