"""A real Spark cluster on loopback: a Master and two Workers on machines without Python.

The driver runs on this machine, as a user's does: on the source environment's Python, with
Spark from the same SPARK_HOME.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .roots import Root
from .sandbox import USER, Sandbox
from .spark_machine import (
    JAVA_HOME,
    executor_root,
    java_program,
    on_loopback,
    pythons,
    spark_home,
)
from .tools import clean_environment, tool

LOOPBACK = "127.0.0.1"
WORKERS = 2
START_SECONDS = 180
SPARK = "/spark"
WORK = "/work"
CLASS = "org.apache.spark.deploy"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
MASTER_LINE = re.compile(r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")
CONNECT_LINE = re.compile(r"Spark Connect server started at: (\S+)")
WORKER_LINE = re.compile(r"Successfully registered with master (spark://\S+)")
INHERITED = ("SPARK_", "PYSPARK_", "HADOOP_", "YARN_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SETTINGS = {
    "spark.driver.host": LOOPBACK,
    "spark.driver.bindAddress": LOOPBACK,
    "spark.ui.enabled": "false",
    "spark.cores.max": str(WORKERS),
    "spark.executor.cores": "1",
    "spark.executor.memory": "768m",
    "spark.executor.extraJavaOptions": QUICK,
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
    "spark.task.maxFailures": "1",
    "spark.sql.shuffle.partitions": str(WORKERS),
    # both executors have one address and do not see each other's files
    "spark.shuffle.readHostLocalDisk": "false",
}


class ClusterFailed(Exception):
    """A part of the cluster did not start; the text holds the end of its log."""


@dataclass
class Daemon:
    """A Master or Worker in its own namespaces, and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, line: re.Pattern[str]) -> str:
        """Return the first group of a line of the log; raise `ClusterFailed` without it."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            found = line.search(text)
            if found is not None:
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise ClusterFailed(f"{self.log.name}: no `{line.pattern}` in\n{tail(self.log)}")

    def stop(self) -> None:
        """Kill the namespace by its first process, then bwrap; nothing in it survives."""
        pid = self.process.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            for child in children.split():
                os.kill(int(child), signal.SIGKILL)
        self.process.kill()
        self.process.wait(timeout=30)


@dataclass(frozen=True)
class Submitted:
    """What a job came to: the exit code of its line, what it said, what the executors said."""

    code: int
    output: str
    executors: str

    def __str__(self) -> str:
        """Return all of it, to be read when a test fails."""
        return f"exit {self.code}\n{self.output[-8000:]}\n{self.executors[-4000:]}"


@dataclass
class Cluster:
    """A running cluster. `binds` are folders that each Worker sees, read-only."""

    root: Root
    home: Path
    work: Path
    binds: Mapping[str, Path]
    master: str = ""
    workers: list[Path] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        """Return the machine of the Workers."""
        return Sandbox(self.root)

    def seen(self) -> dict[str, Path]:
        """Return what a Worker sees besides its root: Spark, and the cluster's binds."""
        return {SPARK: self.home, **self.binds}

    def daemon(self, name: str, words: Sequence[str], folder: Path) -> Daemon:
        """Start a class of Spark as another user on a machine of its own."""
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder, USER, USER)
        command = self.sandbox.command(
            [f"{SPARK}/bin/spark-class", *words],
            binds=self.seen(),
            writable={WORK: folder},
            env={
                "JAVA_HOME": JAVA_HOME,
                "SPARK_DAEMON_MEMORY": "256m",
                "SPARK_HOME": SPARK,
                "SPARK_LOCAL_IP": LOOPBACK,
                "SPARK_NO_DAEMONIZE": "1",
            },
            uid=USER,
            cwd=WORK,
            home="/home/user",
        )
        log = self.work / f"{name}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                on_loopback(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return Daemon(process, log)

    def start(self, stack: ExitStack) -> None:
        """Start the Master, then the Workers; `stack` stops them."""
        address = ("--host", LOOPBACK, "--port", "0", "--webui-port", "0")
        words = [f"{CLASS}.master.Master", *address]
        master = self.daemon("master", words, self.work / "master")
        stack.callback(master.stop)
        self.master = master.wait_for(MASTER_LINE)
        words = [f"{CLASS}.worker.Worker", *address, "--cores", "1", "--memory", "1g"]
        words += ["--work-dir", WORK, self.master]
        started = []
        for number in range(WORKERS):
            self.workers.append(self.work / f"worker-{number}")
            worker = self.daemon(f"worker-{number}", words, self.workers[-1])
            stack.callback(worker.stop)
            started.append(worker)
        for worker in started:
            worker.wait_for(WORKER_LINE)

    def submit(
        self,
        line: str,
        *,
        cwd: Path,
        environment: Path,
        settings: Mapping[str, str] | None = None,
        timeout: float = 240,
    ) -> Submitted:
        """Run a line of shell, as a user types it, in a folder with an environment activated.

        The cluster's address and settings come from spark-defaults.conf, so the line needs none.
        """
        env = self.variables(cwd, clean_environment(), environment / "bin", settings=settings)
        return self.shell(line, cwd, env, timeout)

    def variables(
        self,
        folder: Path,
        inherited: Mapping[str, str],
        *programs: Path,
        settings: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return what a user of the cluster has: its settings in `folder`, and programs on PATH."""
        local = folder / "local"
        conf = folder / "conf"
        for made in (local, conf):
            made.mkdir(exist_ok=True)
        chosen = {**SETTINGS, "spark.master": self.master, "spark.local.dir": str(local)}
        chosen["spark.driver.extraJavaOptions"] = f"{QUICK} -Djava.io.tmpdir={local}"
        chosen.update(settings or {})
        text = "".join(f"{name} {value}\n" for name, value in chosen.items())
        (conf / "spark-defaults.conf").write_text(text, encoding="utf-8")
        env = {name: value for name, value in inherited.items() if not name.startswith(INHERITED)}
        env["PATH"] = os.pathsep.join([*map(str, programs), f"{self.home}/bin", env["PATH"]])
        env |= {"SPARK_HOME": str(self.home), "SPARK_CONF_DIR": str(conf)}
        env["SPARK_LOCAL_IP"] = LOOPBACK
        return env

    def shell(
        self, line: str, cwd: Path, env: Mapping[str, str], timeout: float = 240
    ) -> Submitted:
        """Run a line of shell with these variables; return what it and the executors said."""
        code, output = shell(line, cwd, env, timeout)
        return Submitted(code, output, self._collect())

    def connect(self, folder: Path, env: Mapping[str, str], port: int) -> Daemon:
        """Start a server of Spark Connect on this cluster, on this machine, and wait for it."""
        folder.mkdir()
        words = [f"{self.home}/bin/spark-submit", "--class", CONNECT, "--name", "connect"]
        words += ["--conf", f"spark.connect.grpc.binding.port={port}", "spark-internal"]
        log = folder / "connect.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        server = Daemon(process, log)
        try:
            server.wait_for(CONNECT_LINE)
        except ClusterFailed:
            server.stop()
            raise
        return server

    def _collect(self) -> str:
        """Return what the executors of the last job wrote, and remove what they unpacked."""
        said = []
        for worker in self.workers:
            for app in sorted(worker.glob("app-*")):
                said += [tail(log) for log in sorted(app.glob("*/stderr"))]
                shutil.rmtree(app, ignore_errors=True)
        return "\n".join(said)


def shell(line: str, cwd: Path, env: Mapping[str, str], timeout: float) -> tuple[int, str]:
    """Run a line in a process group of its own; return its exit code and all it said.

    `timeout` ends the group after that many seconds even when these tests were killed.
    """
    with open(cwd / "output.log", "wb") as out:
        process = subprocess.Popen(
            [tool("timeout"), "--signal=KILL", str(timeout), tool("sh"), "-c", line],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout + 30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)
    return code, (cwd / "output.log").read_text(encoding="utf-8", errors="replace")


def tail(log: Path) -> str:
    """Return the end of a log under its name."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return f"--- {log.name} of {log.parent.name}\n{text[-3000:]}"


@contextmanager
def cluster(work: Path, binds: Mapping[str, Path] | None = None) -> Iterator[Cluster]:
    """Give a running cluster; its folders and logs are below `work`, which must be new.

    Raises `MissingMachine` without Java on this machine, `ClusterFailed` when a daemon does not
    start or when the Workers' machine has a Python.
    """
    java_program()
    made = Cluster(executor_root(), spark_home(), work, binds or {})
    found = pythons(made.sandbox, made.seen())
    if found:
        raise ClusterFailed(f"the machine of the Workers has a Python: {found}")
    work.mkdir(parents=True)
    with ExitStack() as stack:
        made.start(stack)
        yield made
