"""What each destination wants of an archive, and how to hand it over: data, and nothing else.

Each row was run, or read in the destination's own source or documentation; `docs/destinations.md`
says which.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_BITS = "its unpacker drops the executable bits, so `bin/python` will not start"
_COPY = "it does not unpack this format, but only copies the file"


class System(NamedTuple):
    """A system, its glibc, and the newest GLIBCXX_ of its libstdc++.

    Source: the measurements behind manylinux (mayeut/pep600_compliance).
    """

    name: str
    glibc: str
    glibcxx: str


class Host(NamedTuple):
    """A machine that a destination often starts, by its name there, and its system."""

    name: str
    system: System


_UBUNTU_20 = System("Ubuntu 20.04", "2.31", "3.4.28")
_UBUNTU_22 = System("Ubuntu 22.04", "2.35", "3.4.30")
_DEBIAN_11 = System("Debian 11", "2.31", "3.4.28")
_DEBIAN_12 = System("Debian 12", "2.36", "3.4.30")
_AMAZON_2 = System("Amazon Linux 2", "2.26", "3.4.24")
_AMAZON_2023 = System("Amazon Linux 2023", "2.34", "3.4.29")


class Preset(NamedTuple):
    """One destination.

    `formats` are those that it unpacks well; `broken` says of others what happens. `brings` are the
    distributions that the destination has itself, and `needs` those it looks for inside. `usage`
    is shown with `{archive}` filled in, the file's name quoted for a shell, and `{name}`, the bare
    name. `ceiling` is a size in bytes from which on shipping with every job hurts, and `above` says
    how. `compile` says whether its processes start so often that bytecode belongs in, and
    `needs_copies` that it loses hard links, or was never seen to keep them. `hosts` are machines it
    often has, oldest first, and `notes` are sentences for the reader.
    """

    title: str
    usage: str
    formats: tuple[str, ...] = ("tar.gz",)
    broken: Mapping[str, str] = MappingProxyType({})
    brings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    ceiling: int = 2_000_000_000
    above: str = "every machine fetches it"
    compile: bool = False
    needs_copies: bool = False
    hosts: tuple[Host, ...] = ()
    notes: tuple[str, ...] = ()


_SPARK_FORMATS = {
    "zip": f"Spark 3 and Hadoop before 3.4.1: {_BITS} (Spark 4 reads it)",
    "tar": _BITS,
    "tar.zst": _COPY,
}

PRESETS: Mapping[str, Preset] = {
    "spark": Preset(
        title="Spark",
        broken=_SPARK_FORMATS,
        brings=("pyspark",),
        above="every executor fetches it from the driver; put it on shared storage, and name that",
        compile=True,
        hosts=(
            Host("apache/spark:3.5.6", _UBUNTU_20),
            Host("apache/spark:4.1.1", _UBUNTU_22),
        ),
        notes=(
            "the executor image needs bash, gzip and tar",
            "in `local[*]` mode the archive is not in the working directory",
        ),
        usage="""\
# client mode (standalone, YARN, Kubernetes): the driver runs here
PYSPARK_DRIVER_PYTHON=python PYSPARK_PYTHON=./environment/bin/python \\
    spark-submit --archives {archive}#environment app.py
# cluster mode (YARN, Kubernetes): the driver runs there, so its Python is the same
PYSPARK_PYTHON=./environment/bin/python \\
    spark-submit --deploy-mode cluster --archives {archive}#environment app.py
# in code, before the session is made
os.environ["PYSPARK_PYTHON"] = "./environment/bin/python"
SparkSession.builder.config("spark.archives", "{name}#environment").getOrCreate()
# Spark Connect
spark.addArtifacts("{name}#environment", archive=True)
spark.conf.set("spark.sql.execution.pyspark.python", "environment/bin/python")
""",
    ),
    "ray": Preset(
        title="Ray",
        needs_copies=True,
        needs=("ray",),
        broken={"zip": "", "tar": "", "tar.zst": ""},
        ceiling=512 * 1024 * 1024 - 1,
        above="Ray uploads no local `working_dir` of 512 MiB or more; put it on shared storage, and"
        " name that",
        hosts=(Host("rayproject/ray", _UBUNTU_22),),
        notes=(
            "every node needs bash, and the same Ray and Python, to the patch version",
            "the archive becomes the working directory, so files that lie there now are not in it",
        ),
        usage="""\
runtime_env = {{"working_dir": "{name}", "py_executable": "./bin/python"}}
ray.init(runtime_env=runtime_env)
""",
    ),
    "flink": Preset(
        title="Flink",
        needs_copies=True,
        formats=("tar.gz", "zip"),
        needs=("apache-flink",),
        hosts=(Host("flink:1.20 and 2.0", _UBUNTU_22),),
        usage="""\
flink run -py job.py -pyarch {archive}#environment -pyexec environment/bin/python
""",
    ),
    "dask-yarn": Preset(
        title="Dask on YARN",
        needs=("dask-yarn",),
        usage="""\
YarnCluster(environment="{name}")
""",
    ),
    "emr": Preset(
        title="EMR",
        broken=_SPARK_FORMATS,
        brings=("pyspark",),
        compile=True,
        hosts=(Host("EMR 6", _AMAZON_2), Host("EMR 7", _AMAZON_2023)),
        usage="""\
# EMR on EC2
spark-submit --archives s3://BUCKET/{name}#environment \\
    --conf spark.pyspark.python=./environment/bin/python app.py
# EMR Serverless, sparkSubmitParameters
--conf spark.archives=s3://BUCKET/{name}#environment
--conf spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python
--conf spark.emr-serverless.driverEnv.PYSPARK_PYTHON=./environment/bin/python
--conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python
""",
    ),
    "dataproc": Preset(
        title="Dataproc",
        broken=_SPARK_FORMATS,
        brings=("pyspark",),
        compile=True,
        hosts=(
            Host("Dataproc 2.1", _DEBIAN_11),
            Host("Dataproc 2.2 and 2.3", _DEBIAN_12),
        ),
        usage="""\
gcloud dataproc jobs submit pyspark app.py --archives=gs://BUCKET/{name}#environment \\
    --properties=spark.pyspark.python=./environment/bin/python
""",
    ),
    "hadoop-streaming": Preset(
        title="Hadoop streaming",
        formats=("tar.gz", "zip", "tar"),
        broken={"tar.zst": _COPY},
        usage="""\
mapred streaming -archives hdfs:///{name}#environment \\
    -mapper "environment/bin/python mapper.py" -file mapper.py -input IN -output OUT
""",
    ),
}


def usage_lines(preset: Preset, archive: str) -> tuple[str, ...]:
    """Return the lines to type, with the archive's name filled in."""
    name = os.path.basename(archive)
    usage = preset.usage.format(archive=shlex.quote(archive), name=name)
    return (*usage.splitlines(), *(f"# {note}" for note in preset.notes))
