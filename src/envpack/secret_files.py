"""Files of secrets: the one place that knows them, by name and by what they begin with.

A name tells where nothing else has it (`.netrc`, `id_ed25519`); what may be public too (`*.pem`) is
looked at. Sources and documentation are never looked into: they speak about keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from envpack.redact import has_secrets, is_secret_name

HEAD = 64 * 1024
"""How many of a file's first bytes tell what it is."""

_NAMED = (
    r"\.env(?:\.(?:local|prod|production))?"
    r"|[._]netrc|\.pypirc|\.git-credentials|\.pgpass|\.my\.cnf|\.htpasswd|\.vault-token"
    r"|\.dockercfg|\.boto|\.s3cfg|\.passwd-s3fs|\.rclone\.conf|pip\.(?:conf|ini)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|.*\.(?:ppk|kdbx?|p12|pfx|jks|keystore)"
    r"|secrets\.toml|terraform\.tfstate(?:\.backup)?"
)
_BELOW = (
    r"(?:.*/)?(?:\.(?:ssh|gnupg)/.+|\.aws/credentials|\.(?:aws/(?:sso|cli)/cache|config/gcloud)/.+"
    r"|\.azure/(?:accessTokens|msal_\w+|service_principal_entries)\..*|\.docker/config\.json"
    r"|\.config/gh/hosts\.yml)"
)
_PUBLIC_TOO = (
    r"\.envrc|\.env\..*|\.npmrc|auth\.json|(?:secrets|credentials)\.(?:json|toml|ya?ml)"
    r"|.*service[_-]?account.*\.json|client_secret.*\.json|.*\.(?:auto\.)?tfvars|kubeconfig"
)
_PUBLIC_TOO_BELOW = r"(?:.*/)?\.(?:(?:aws|azure|kube)/.+|vscode/settings\.json)"
"""Names that a translation, a schema or a template may have too: these are looked into."""
_ASSIGNED = r"""([A-Za-z_][\w.-]*)["']?[ \t]*[:=][ \t]*["']?([^\s"',{}\[\]#]{6,})"""
_RANDOM = r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w+=-]{10,}"
"""What no person thinks of, whatever it is called: of both cases, with a digit."""
_WORDS = r"(?i)(?:[a-z]+[._-]?)+|[/$<%].*|\d+"
_NAMES = frozenset({"kubeconfig", "auth.json"})
_ENDS = (
    ".ppk", ".kdb", ".kdbx", ".p12", ".pfx", ".jks", ".keystore", ".json", ".toml", ".yml", ".yaml",
    ".tfvars", ".tfstate", ".backup", ".conf", ".ini", ".pem", ".key",
)  # fmt: skip
_SETTINGS = frozenset(
    {
        "pip.conf", "pip.ini", "uv.toml", "poetry.toml", "pdm.toml", ".pdm.toml", ".condarc",
        ".yarnrc", ".yarnrc.yml", ".gitconfig", ".hgrc",
    }
)  # fmt: skip
_CODE = (
    ".py", ".pyi", ".pyx", ".pxd", ".ipynb", ".c", ".h", ".cc", ".cpp", ".hpp", ".rs", ".go", ".js",
    ".mjs", ".ts", ".tsx", ".java", ".md", ".rst", ".html", ".css", ".svg", ".so", ".pyc", ".whl",
    ".gz", ".zip", ".png", ".jpg", ".gif", ".woff2",
)  # fmt: skip
_KEY = (
    rb"(?m)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    rb"|^PuTTY-User-Key-File-\d|AGE-SECRET-KEY-1[A-Z0-9]"
    rb"|\"type\"\s*:\s*\"service_account\""
    rb"|\"auth\"\s*:\s*\"[\w+/=]{8,}\"|\"identitytoken\"\s*:"
    rb"|\bmachine\s+\S+\s+(?:login\s+\S+\s+)?password\s+\S"
    rb"|^\s*aws_secret_access_key\s*=\s*\S|:_(?:authToken|password|auth)=\S"
    rb"|^\s*client-key-data\s*:\s*\S|^\[(?:pypi|testpypi|server-login)\][^\[]*^password\s*[=:]\s*\S"
    rb"|\b(?:ghp_\w{36}|github_pat_\w{40,}|glpat-[\w-]{20}|pypi-AgE[\w-]{40,}|xox[bp]-[\w-]{20,})"
)


def is_secret(name: str, head: Callable[[], bytes]) -> bool:
    """Say whether a file holds secrets; `head` gives its first HEAD bytes if they are asked for.

    `name` is its POSIX path below whatever it is a part of.
    """
    return is_named_so(name) or (may_tell(name) and tells(name, head()))


def is_named_so(name: str) -> bool:
    """Say whether the name alone says that a file holds secrets."""
    base = name.rpartition("/")[2]
    if base.endswith(_CODE):
        return False
    return re.fullmatch(_NAMED, base) is not None or re.fullmatch(_BELOW, name) is not None


def may_be_named_so(base: str) -> bool:
    """Say cheaply whether a base name is worth a closer look: few are."""
    return base.startswith((".", "_netrc", "id_")) or base.endswith(_ENDS) or base in _NAMES


def is_setting(name: str) -> bool:
    """Say whether a file holds settings of pip, uv or a tool like them."""
    return name.rpartition("/")[2] in _SETTINGS


def may_tell(name: str) -> bool:
    """Say whether the content of a file may tell that it holds secrets."""
    return not name.endswith(_CODE)


def tells(name: str, head: bytes) -> bool:
    """Say whether the first bytes of a file tell that it holds secrets."""
    if re.search(_KEY, head):
        return True
    text = head.decode("utf-8", "replace")
    if is_setting(name) and has_secrets(text):
        return True
    base = name.rpartition("/")[2]
    named = re.fullmatch(_PUBLIC_TOO, base) or re.fullmatch(_PUBLIC_TOO_BELOW, name)
    return named is not None and _assigns(text)


def is_token(value: str) -> bool:
    """Say whether a value can be nothing but a token or a password."""
    return re.fullmatch(_RANDOM, value) is not None


def _assigns(text: str) -> bool:
    """Say whether a text gives a value that is a secret by itself, or by what it is given to."""
    pairs = (match.groups() for match in re.finditer(_ASSIGNED, text))
    return any(
        is_token(value) or (is_secret_name(name) and not re.fullmatch(_WORDS, value))
        for name, value in pairs
    )
