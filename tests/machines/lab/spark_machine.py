"""The machine of a Spark executor: Debian with Java, bash, gzip and tar, and no Python.

It is a root of bookworm's packages; Spark comes from PyPI's pyspark, which holds jars, scripts
and Python modules, and no interpreter.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .apt import download, unpack
from .cache import build_once
from .missing import MissingMachine
from .roots import EMPTY, GROUPS, MERGED, USERS, Root
from .sandbox import Sandbox
from .tools import call, clean_environment, downloading, linux_x86_64, tool, uv_program

RECIPE = "2"
HOSTS = "127.0.0.1 localhost elsewhere\n"
VERSION = "4.3.0"
SUITE = "bookworm"
JAVA = 17
JAVA_HOME = f"/usr/lib/jvm/java-{JAVA}-openjdk-amd64"
PACKAGES = (
    "bash",
    "busybox-static",
    "coreutils",
    "gzip",
    "libcrypt1",
    "libstdc++6",
    f"openjdk-{JAVA}-jre-headless",
    "tar",
    "zlib1g",
)
SEARCH = """set -e
busybox find / -name proc -prune -o ! -type d ! -name '*.py' -perm /111 \\
    \\( -name '*python*' -o -name 'pypy*' -o -name uv \\) -print
for name in python python2 python3 pypy pypy3 uv pip pip3; do command -v $name || true; done
"""
UNPACK = """\
public class Unpack {
    public static void main(String[] words) throws Exception {
        org.apache.spark.util.Utils$.MODULE$.unpack(
            new java.io.File(words[0]), new java.io.File(words[1]));
    }
}
"""
LOCALISE = """\
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.*;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.yarn.api.records.*;
import org.apache.hadoop.yarn.util.*;

public class Localise {
    public static void main(String[] words) throws Exception {
        Configuration settings = new Configuration();
        FileContext files = FileContext.getLocalFSFileContext(settings);
        Path archive = new Path("file://" + words[0]);
        FileStatus status = files.getFileStatus(archive);
        LocalResource resource = Records.newRecord(LocalResource.class);
        resource.setResource(URL.fromPath(archive));
        resource.setSize(status.getLen());
        resource.setTimestamp(status.getModificationTime());
        resource.setType(LocalResourceType.ARCHIVE);
        resource.setVisibility(LocalResourceVisibility.PRIVATE);
        Path made = new FSDownload(files, UserGroupInformation.getCurrentUser(), settings,
            new Path("file://" + words[1]), resource).call();
        System.out.println(made.toUri().getPath());
    }
}
"""


def executor_root() -> Root:
    """Return the root that Workers run in; raise `MissingMachine` when it cannot be made.

    The packages' scripts do not run, so `java` is found through JAVA_HOME alone. The host name of
    a sandbox, `elsewhere`, is the loopback address, for Java asks for it.
    """
    linux_x86_64()

    def build(to: Path) -> None:
        for name in MERGED:
            (to / "usr" / name).mkdir(parents=True)
            (to / name).symlink_to(f"usr/{name}")
        with TemporaryDirectory(dir=to.parent) as folder:
            debs = Path(folder) / "debs"
            debs.mkdir()
            download(SUITE, PACKAGES, debs, closure=True)
            unpack(sorted(debs.glob("*.deb")), to)
        for name in EMPTY:
            (to / name).mkdir(parents=True, exist_ok=True)
        (to / "usr/bin/sh").symlink_to("bash")
        (to / "etc/passwd").write_text(USERS, encoding="utf-8")
        (to / "etc/group").write_text(GROUPS, encoding="utf-8")
        (to / "etc/hosts").write_text(HOSTS, encoding="utf-8")

    return Root(SUITE, "spark", build_once(f"root-{SUITE}-spark-{RECIPE}", build))


def spark_home(version: str = VERSION) -> Path:
    """Return the SPARK_HOME of a pyspark release from PyPI, a source distribution of 480 MB.

    uv's cache is passed by, for it would keep two more copies. py4j is inside, as a zip.
    """

    def build(to: Path) -> None:
        with downloading(f"pyspark {version}"):
            call(
                [
                    *(uv_program(), "pip", "install", "--no-cache", "--no-deps"),
                    *("--target", to / "lib", f"pyspark=={version}"),
                ],
                env=clean_environment({"UV_NO_PROGRESS": "1"}),
            )

    return build_once(f"spark-{version}-1", build) / "lib/pyspark"


def java_program(name: str = "java") -> str:
    """Return this machine's `java` or `javac`; raise `MissingMachine` when it is too old."""
    program = tool(name)
    said = call([program, "--version"])
    found = re.search(r"\b(\d+)\.\d+", said)
    if found is None or int(found[1]) < JAVA:
        raise MissingMachine(f"Spark 4 needs Java {JAVA}, `{name}` is {said.split(chr(10))[0]}")
    return program


def unpackers(home: Path, to: Path) -> Path:
    """Compile callers of Spark's own unpacker, and of YARN's, into a folder, and return it.

    Spark calls `Utils.unpack` in the driver and in every executor on each of its archives; on
    YARN each node calls `FSDownload`.
    """
    javac = java_program("javac")
    to.mkdir()
    sources = []
    for name, text in {"Unpack": UNPACK, "Localise": LOCALISE}.items():
        source = to / f"{name}.java"
        source.write_text(text, encoding="utf-8")
        sources.append(source)
    call([javac, "--release", str(JAVA), "-cp", home / "jars/*", "-d", to, *sources])
    return to


def on_loopback(command: Sequence[str]) -> list[str]:
    """Return a sandbox's command with this machine's network, for a cluster needs one."""
    kept = [flag for flag in command if flag != "--unshare-net"]
    if "--unshare-all" in kept:
        kept.insert(kept.index("--unshare-all") + 1, "--share-net")
    return kept


def pythons(sandbox: Sandbox, binds: Mapping[str, Path]) -> list[str]:
    """Return every program that could be a Python on a machine: by its name, or on PATH."""
    done = sandbox.run(["bash", "-c", SEARCH], binds=binds, path="/usr/bin:/usr/sbin")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()
