"""Runs in the packed Python whenever it starts: finds certificates, terminals and time zones.

A part of the archive, next to a `.pth` that imports it; Python 3.8 must read it. It looks at a
few files, imports nothing that `site` has not, and never fails. What the machine has comes before
what the pack has, and what the user set before both.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Gentoo, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL, Amazon Linux
    "/etc/pki/tls/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",  # Arch
    "/etc/ssl/certs/ca-bundle.crt",  # NixOS
    "/etc/ssl/cert.pem",  # Alpine
)
"""Where systems keep all their certificates in one file."""

FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/var/lib/ca-certificates/openssl")
"""Where they keep one file for each, named by its hash as OpenSSL wants it."""

TERMINALS = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")

ZONES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo")
"""Where CPython looks for time zones by itself (PEP 615), and the C library in the first."""

BUNDLE = "share/envpack/cacert.pem"
TERMINFO = "share/terminfo"
ZONEINFO = "share/zoneinfo"


def start(openssl: "str | None", terminals: "tuple[str, ...]") -> None:
    """Set the variables of this process, and so of those it starts."""
    try:
        root = os.path.abspath(__file__)
        for _ in range(4):  # lib/python3.N/site-packages
            root = os.path.dirname(root)
        found = settings(os.environ, root, openssl, terminals)
        for name, value in found.items():
            os.environ[name] = value
        if "TZDIR" in found and "TZ" in os.environ:
            _read_zone_again(os.environ["TZ"])
    except Exception:  # noqa: BLE001, S110 - Python must start
        pass


def settings(
    environ: "Mapping[str, str]", root: str, openssl: "str | None", terminals: "tuple[str, ...]"
) -> "dict[str, str]":
    """Return the variables to set.

    `root` is the pack's prefix. `openssl` is the folder where its OpenSSL looks by itself, "" if
    that is not known, None if it has none; `terminals` are those where its curses looks.
    """
    found = {}
    if openssl is not None and "SSL_CERT_FILE" not in environ and "SSL_CERT_DIR" not in environ:
        found.update(_certificates(root, openssl))
    if "TERMINFO" not in environ and "TERMINFO_DIRS" not in environ:
        found.update(_terminals(root, terminals))
    own = os.path.join(root, ZONEINFO)
    if has_zones(own) and not any(map(has_zones, ZONES)):
        if "PYTHONTZPATH" not in environ and ":" not in own:
            found["PYTHONTZPATH"] = own
        if "TZDIR" not in environ:  # the C library's
            found["TZDIR"] = own
    return found


def _read_zone_again(zone: str) -> None:
    """Let the C library look for the zone anew: it has before, and keeps what TZ is the name of."""
    import time

    for name in ("UTC0", zone):
        os.environ["TZ"] = name
        time.tzset()


def has_zones(folder: str) -> bool:
    """Say whether a folder has time zones: nobody's has none of that name."""
    return os.path.isfile(folder + "/UTC")


def _certificates(root: str, openssl: str) -> "dict[str, str]":
    if openssl and (_filled(openssl + "/cert.pem") or _hashed(openssl + "/certs")):
        return {}
    for path in STORES:
        if _filled(path):
            return {"SSL_CERT_FILE": path}
    for folder in FOLDERS:
        if _hashed(folder):
            return {"SSL_CERT_DIR": folder}
    own = os.path.join(root, BUNDLE)
    return {"SSL_CERT_FILE": own} if _filled(own) else {}


def _terminals(root: str, terminals: "tuple[str, ...]") -> "dict[str, str]":
    if any(map(_described, terminals)):
        return {}
    places = [place for place in TERMINALS if _described(place)]
    own = os.path.join(root, TERMINFO)
    if ":" not in own and _described(own):
        places.append(own)
    elif not places and _described(own):
        return {"TERMINFO": own}  # one folder, whatever is in its name
    return {"TERMINFO_DIRS": ":".join(places)} if places else {}


def _filled(path: str) -> bool:
    """Say whether a file is there, can be read and is not empty."""
    try:
        return os.path.isfile(path) and os.access(path, os.R_OK) and os.path.getsize(path) > 0
    except OSError:
        return False


def _names(folder: str) -> "list[str]":
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []


def _hashed(folder: str) -> bool:
    """Say whether a folder has files such as `4042bcee.0`."""
    return any(name[8:9] == "." and name[9:].isdigit() for name in _names(folder))


def _described(folder: str) -> bool:
    """Say whether a folder has folders such as `x`, or `78`, of descriptions of terminals."""
    return any(len(name) <= 2 for name in _names(folder))
