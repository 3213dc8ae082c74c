"""How to reach the world, as uv's settings want it: proxies, certificates, timeouts, retries."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from envpack.errors import FetchFault, UsageError
from envpack.urls import realm_of
from envpack.uv_config import UvConfig


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach the world. Times are seconds; proxies may hold passwords.

    `proxies` has a URL for "http", "https" and "all". Certificates of `cert_files` and `cert_dirs`
    replace all others; without them it is Mozilla's list, or the system's with `system_certs`.
    `retries` is how often a file is tried again, the n-th time after about `backoff` * 2**n.
    """

    timeout: float = 30.0
    connect_timeout: float = 10.0
    retries: int = 3
    backoff: float = 0.5
    offline: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_proxy: tuple[str, ...] = ()
    insecure: frozenset[str] = frozenset()
    cert_files: tuple[str, ...] = ()
    cert_dirs: tuple[str, ...] = ()
    client_cert: str | None = None
    system_certs: bool = False

    @classmethod
    def of(cls, config: UvConfig) -> Network:
        """Read uv's variables and settings. Raises UsageError for a value that is none."""
        env = config.env
        timeout = _number(
            env, ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"), 30, least=1
        )
        files, folders = _certificates(env)
        insecure = env.get("UV_INSECURE_HOST", "").replace(",", " ").split()
        return cls(
            timeout=timeout,
            connect_timeout=_number(env, ("UV_HTTP_CONNECT_TIMEOUT",), min(timeout, 10), least=1),
            retries=int(_number(env, ("UV_HTTP_RETRIES",), 3, least=0)),
            offline=config.flag(("UV_OFFLINE",), ("offline",)),
            proxies=_proxies(config),
            no_proxy=_no_proxy(config),
            insecure=frozenset(insecure or map(str, config.every("allow-insecure-host"))),
            cert_files=files,
            cert_dirs=folders,
            client_cert=env.get("SSL_CLIENT_CERT") or None,
            system_certs=config.flag(
                ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"), ("system-certs", "native-tls")
            ),
        )

    def proxy_for(self, url: str) -> str | None:
        """Return the URL of the proxy for `url`, None for a direct connection."""
        realm = realm_of(url)
        proxy = self.proxies.get(realm.scheme) or self.proxies.get("all")
        if not proxy or any(_matches(entry, realm.host, realm.port) for entry in self.no_proxy):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def trusts_blindly(self, url: str) -> bool:
        """Say whether the certificate of this host is not to be checked."""
        realm = realm_of(url)
        return realm.host in self.insecure or f"{realm.host}:{realm.port}" in self.insecure


def _number(env: Mapping[str, str], names: Sequence[str], default: float, *, least: int) -> float:
    for name in names:
        if text := env.get(name):
            try:
                number = float(text)
            except ValueError:
                number = -1.0
            if not least <= number < float("inf"):
                raise UsageError(f"`{name}` is `{text}`, which is no number from {least} up")
            return number
    return default


def _proxies(config: UvConfig) -> dict[str, str]:
    """Return proxies by scheme. In a CGI script HTTP_PROXY is whatever a stranger sent."""
    env = config.env
    found = {}
    for scheme in ("http", "https", "all"):
        name = f"{scheme}_proxy"
        upper = None if scheme == "http" and "REQUEST_METHOD" in env else env.get(name.upper())
        value = env.get(name) or upper or config.first(f"{scheme}-proxy")
        if isinstance(value, str) and value:
            found[scheme] = value
    return found


def _no_proxy(config: UvConfig) -> tuple[str, ...]:
    text = config.env.get("no_proxy") or config.env.get("NO_PROXY")
    words = text.split(",") if text else [str(word) for word in config.every("no-proxy")]
    return tuple(word.strip().lower() for word in words if word.strip())


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Say whether an entry of NO_PROXY is about a host: `*`, a domain, an address or a network."""
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").lstrip(".")
        return entry == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))


def _certificates(env: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return files and folders of certificates that replace all others, be they there or not."""
    files = tuple(filter(None, [env.get("SSL_CERT_FILE")]))
    folders = tuple(filter(None, env.get("SSL_CERT_DIR", "").split(os.pathsep)))
    bundle = env.get("REQUESTS_CA_BUNDLE")  # not uv's, but what many companies set
    if files or folders or not bundle:
        return files, folders
    return ((), (bundle,)) if os.path.isdir(bundle) else ((bundle,), ())


def trust(network: Network) -> ssl.SSLContext:
    """Return the certificates to trust. Raises FetchFault if there is none to be read."""
    if network.cert_files or network.cert_dirs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in _cert_paths(network):
            try:
                context.load_verify_locations(cafile=path)
            except (ssl.SSLError, OSError):  # uv skips what is no certificate too
                continue
        if not context.cert_store_stats()["x509"]:
            places = ", ".join(f"`{path}`" for path in (*network.cert_files, *network.cert_dirs))
            raise FetchFault(f"there is no certificate in {places}")
    elif network.system_certs:
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        import certifi

        context = ssl.create_default_context(cafile=certifi.where())
    if network.client_cert:
        try:
            context.load_cert_chain(network.client_cert)
        except (ssl.SSLError, OSError):
            raise FetchFault(f"`{network.client_cert}` holds no certificate with its key") from None
    return context


def _cert_paths(network: Network) -> Iterator[str]:
    """Yield each file once: folders of certificates are full of links to the same ones."""
    seen = set()
    folders = [folder for folder in network.cert_dirs if os.path.isdir(folder)]
    for path in (
        *network.cert_files,
        *(os.path.join(folder, name) for folder in folders for name in sorted(os.listdir(folder))),
    ):
        real = os.path.realpath(path)
        if real not in seen and os.path.isfile(real):
            seen.add(real)
            yield real
