"""Runs inside the other machine, on the packed Python alone: prints what it found as JSON.

Arguments: a JSON object with `place`, `imports` and `outside` (a folder that can be written to).
Python 3.9 must be able to read it.
"""

import csv
import hashlib
import base64
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import site
import subprocess
import sys
import sysconfig

CALLS = {"f2py": "-v", "numpy-config": "--version", "pygmentize": "-V", "shop-gui": None}


def square(number):
    return number * number


def answers(path, *words, **options):
    done = subprocess.run(
        [path, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
        **options,
    )
    return [done.returncode, done.stdout, done.stderr]


def main():
    asked = json.loads(sys.argv[1])
    place = asked["place"]
    found = {"prefix": sys.prefix, "base_prefix": sys.base_prefix, "executable": sys.executable}
    found["version"] = "%d.%d" % sys.version_info[:2]
    found["imports"] = {}
    for name in [*asked["imports"], "ssl", "sqlite3", "ctypes", "lzma", "bz2", "zlib", "uuid"]:
        try:
            module = importlib.import_module(name)
            found["imports"][name] = getattr(module, "__file__", None) or "built in"
        except Exception as error:
            found["imports"][name] = "!" + repr(error)
    import ctypes
    import sqlite3
    import ssl

    found["sqlite"] = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0]
    found["libc"] = ctypes.CDLL(None).abs(-7)
    ssl.create_default_context()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found["spawn"] = pool.map(square, [2, 3])
    found["paths"] = sysconfig.get_paths()
    found["config"] = {
        name: sysconfig.get_config_var(name)
        for name in ("prefix", "exec_prefix", "LIBDIR", "INCLUDEPY", "LIBPL", "base")
    }
    found["user_site"] = [site.ENABLE_USER_SITE, "sneaky" in sys.modules or can_import("sneaky")]
    found["path"] = sys.path
    found["scripts"] = scripts(place, asked["outside"])
    found["records"] = records()
    json.dump(found, sys.stdout)


def can_import(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def scripts(place, outside):
    """Start every console and gui script: by absolute path, relative, from PATH, by a link."""
    names = set()
    for dist in importlib.metadata.distributions():
        for point in dist.entry_points:
            if point.group in ("console_scripts", "gui_scripts"):
                names.add(point.name)
    found = {}
    env = dict(os.environ, PYTHONHOME="/nowhere")
    for number, name in enumerate(sorted(names)):
        word = CALLS.get(name, "--help")
        words = [word] if word else []
        path = place + "/bin/" + name
        link = "%s/a link %d" % (outside, number)
        os.symlink(path, link)
        ways = {"absolute": answers(path, *words, env=env)}
        if number < 3:
            ways["relative"] = answers("bin/" + name, *words, env=env, cwd=place)
            ways["dots"] = answers("../bin/./" + name, *words, env=env, cwd=place + "/lib")
            ways["link"] = answers(link, *words, env=env)
            on_path = dict(env, PATH=place + "/bin:" + env["PATH"])
            ways["PATH"] = answers("/bin/sh", "-c", '"$@"', "sh", name, *words, env=on_path)
        found[name] = ways
    return found


def records():
    """Verify RECORD of every distribution; return what does not agree, and the number of rows."""
    wrong = []
    rows = 0
    base = sysconfig.get_paths()["purelib"]
    for dist in importlib.metadata.distributions():
        text = dist.read_text("RECORD")
        if text is None:
            wrong.append([str(dist.metadata["Name"]), "no RECORD"])
            continue
        for path, digest, size in csv.reader(text.splitlines()):
            rows += 1
            with open(os.path.join(base, path), "rb") as file:
                data = file.read()
            if path.endswith(".dist-info/RECORD"):
                continue
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            if digest != "sha256=" + expected or int(size) != len(data):
                wrong.append([path, digest])
    return {"wrong": wrong, "rows": rows}


if __name__ == "__main__":
    main()
