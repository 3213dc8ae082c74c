"""A Spark job: a mapInPandas and a pandas_udf; writes what the executors say about themselves.

The last argument is the file to write JSON to, on the driver. With `--in-code` before it the job
itself says where its Python is.
"""

import importlib
import json
import os
import shutil
import site
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]
from pyspark.sql import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    SparkSession,
)
from pyspark.sql.functions import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    pandas_udf,
)

ROWS = 1000


def whereabouts() -> str:
    """Return as JSON what this process is and where its parts come from.

    Modules that need libraries of their own are imported first.
    """
    import numpy as np  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pyspark  # type: ignore[import-not-found,import-untyped,unused-ignore]

    for name in ("bz2", "ctypes", "hashlib", "lzma", "readline", "sqlite3", "ssl", "uuid", "zlib"):
        importlib.import_module(name)
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    libraries = {line.split()[-1] for line in lines if ".so" in line}
    facts = {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "version": list(sys.version_info[:2]),
        "cwd": os.getcwd(),
        "uid": os.getuid(),
        "machine": os.readlink("/proc/self/ns/mnt"),
        "python3": shutil.which("python3"),
        "user_site": site.ENABLE_USER_SITE,
        "libraries": sorted(libraries),
        "library_path": os.environ.get("LD_LIBRARY_PATH"),
        "modules": {module.__name__: module.__file__ for module in (np, pd, pa)},
        "pyspark": pyspark.__file__,
    }
    return json.dumps(facts, sort_keys=True)


def summed(frames: Iterator[Any]) -> Iterator[Any]:
    """Return one row for each partition: its sum, and where it was computed."""
    total = sum(int(frame["id"].sum()) for frame in frames)
    yield pd.DataFrame({"total": [total], "where": [whereabouts()]})


def told(values: pd.Series) -> pd.Series:
    """Return, for each value, where it was computed; slow enough for both executors to start."""
    time.sleep(0.5)
    return pd.Series([whereabouts()] * len(values))


def squared(values: pd.Series) -> pd.Series:
    """Return the squares."""
    return values * values


def main() -> None:
    """Run both kinds on both executors."""
    if "--in-code" in sys.argv:
        os.environ["PYSPARK_PYTHON"] = "./environment/bin/python"
        SparkSession.builder.config("spark.archives", "env.tar.gz#environment").getOrCreate()
    spark = SparkSession.builder.appName("pandas").getOrCreate()
    numbers = spark.range(0, ROWS, 1, 2)
    rows = numbers.mapInPandas(summed, "total long, where string", barrier=True).collect()
    square, where = pandas_udf(squared, "long"), pandas_udf(told, "string")
    chosen = numbers.select(square("id").alias("square"), where("id").alias("where"))
    grouped = chosen.groupBy("where").sum("square").collect()
    result = {
        "map": {"total": sum(row[0] for row in rows), "where": [row[1] for row in rows]},
        "udf": {"total": sum(row[1] for row in grouped), "where": [row[0] for row in grouped]},
    }
    Path(sys.argv[-1]).write_text(json.dumps(result), encoding="utf-8")
    spark.stop()


main()
