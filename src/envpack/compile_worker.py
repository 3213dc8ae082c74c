"""Compiles sources to unchecked-hash bytecode; a script for the packed interpreter, 3.8 or newer.

Reads `[[source, name, output], ...]` from stdin and writes `{"tag": str, "magic": hex, "failed":
[[name, why], ...]}` to stdout, both JSON; after a file that cannot be read or written it stops, and
adds `"error": [path, why]`. `name` becomes the code's file name, which an import replaces by the
real one. Starts nothing, imports nothing of envpack.
Format: PEP 552 (magic number, flags 0b01, hash of the source, marshalled code).
"""

from __future__ import annotations

import sys


def main() -> None:
    """Do what stdin says."""
    own = __file__.rpartition("/")[0]  # its `select` is not the standard library's
    sys.path[:] = [path for path in sys.path if path != own]
    import gc
    import json
    import warnings
    from importlib.util import MAGIC_NUMBER

    gc.disable()
    warnings.simplefilter("ignore")
    failed: list[list[str]] = []
    answer: dict[str, object] = {
        "tag": sys.implementation.cache_tag,
        "magic": MAGIC_NUMBER.hex(),
        "failed": failed,
    }
    # Until 3.11 marshal tells a one-letter string that was interned, anywhere, from one that was
    # not: let them all be, for as long as this runs.
    letters = [sys.intern(chr(code)) for code in range(256)]
    try:
        for source, name, output in json.loads(sys.stdin.buffer.read()):
            with open(source, "rb") as file:
                data = file.read()
            try:
                bytecode = compiled(data, name)
            except (MemoryError, OverflowError, RecursionError, SyntaxError, ValueError) as error:
                failed.append([name, type(error).__name__])
                continue
            with open(output, "xb") as file:
                file.write(bytecode)
    except OSError as error:
        answer["error"] = [error.filename or output, error.strerror or str(error)]
    del letters
    sys.stdout.write(json.dumps(answer))


def compiled(source: bytes, name: str) -> bytes:
    """Return the bytes of the .pyc of `source`.

    marshal marks what is referred to more than once in the whole process, so its bytes depend on
    what else was imported or compiled. A copy shares its interned strings with the original, all of
    them, and all else with nothing.
    """
    import marshal
    from importlib.util import MAGIC_NUMBER, source_hash

    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    copy = marshal.loads(marshal.dumps(code))  # noqa: S302 - made in the line above
    body = marshal.dumps(copy)  # while `code` is there
    return MAGIC_NUMBER + b"\x01\0\0\0" + source_hash(source) + body


if __name__ == "__main__":
    main()
