"""The nouns every layer shares: frozen values, decided before anything is written.

Most are named tuples: made in less than half the time of dataclasses, and the class itself in a
seventh, which every start pays.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeAlias

from envpack.kept import Packed, Seam
from envpack.libraries import Libraries
from envpack.parallel import Pool


class Edit(NamedTuple):
    """Replace bytes `[start, stop)` of a file by `data`, for the reason `why`.

    Offsets count bytes in the unedited file. The edits of one file are disjoint and sorted by
    `start`; `why` is a short noun phrase from a small set, because reports count by it.
    """

    start: int
    stop: int
    data: bytes
    why: str


class View(Protocol):
    """Read-only random access to the bytes of one file; `bytes` is a View."""

    def __len__(self) -> int: ...
    def __getitem__(self, where: slice, /) -> bytes: ...


class Move(NamedTuple):
    """A directory of the build machine and its place in the archive.

    `old` is absolute, without a trailing slash. `new` is a POSIX path relative to the archive's
    root, "" for the root itself.
    """

    old: str
    new: str


class Digest(NamedTuple):
    """What became of one member: sha256 in lower-case hex, size in bytes after edits."""

    sha256: str
    size: int


Digests: TypeAlias = Mapping[str, Digest]


class Disk(NamedTuple):
    """A regular file on this machine, as it was when the plan was made.

    `identity` is its device, inode and ctime in nanoseconds, empty if nobody asked.
    """

    path: str
    size: int
    mtime_ns: int
    identity: tuple[int, ...] = ()


class Inline(NamedTuple):
    """Bytes that the plan itself decided."""

    data: bytes


class Derived(NamedTuple):
    """Bytes that follow from the digests of members before it, as RECORD does.

    It may ask for those of its own run, and for those whose names are in `beyond`. `seed` differs
    between two that make different bytes of the same digests.
    """

    make: Callable[[Digests], bytes]
    beyond: frozenset[str] = frozenset()
    seed: str = ""


class Summary(NamedTuple):
    """The last entry, which tells of all before it: the manifest.

    `make(digest)` returns what stands before and behind its rows, which are one for each member in
    order; `digest` identifies the content of the archive.
    """

    make: Callable[[str], tuple[bytes, bytes]]


class Alias(NamedTuple):
    """Another name of the entry `target`, which comes earlier in the plan.

    `symlink` is the relative link text the source had, for `--links symlink`, and `content` what
    both names stand for.
    """

    target: str
    symlink: str
    content: Disk | Inline


Content: TypeAlias = Disk | Inline | Derived | Summary | Alias


class Entry(NamedTuple):
    """One member of the archive before its bytes are known.

    `name` is a POSIX path relative to the archive's root. Relocators see an entry's bytes only if
    `relocate` is true; what envpack itself wrote is already right. Neighbours with the same `run`
    are packed as one unit.
    """

    name: str
    content: Content
    executable: bool = False
    relocate: bool = True
    run: str = ""


class Head(NamedTuple):
    """What of an entry is known without its content; `alias` says that it names another entry."""

    name: str
    executable: bool
    alias: bool

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return that of an entry."""
        return cls(entry.name, entry.executable, isinstance(entry.content, Alias))


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours that are packed as one unit, made anew each time, or only their `heads`.

    `told` yields folders, each with a hash of all that is known of its files, but for `others`.
    """

    name: str
    count: int
    make: Callable[[], Iterable[Entry]]
    heads: Callable[[], Iterable[Head]]
    told: Callable[[], Iterable[tuple[str, str]]]
    others: tuple[Entry, ...]

    @property
    def looked_up(self) -> bool:
        """Whether an entry asks for the digests of others by name."""
        return any(isinstance(entry.content, Alias | Derived) for entry in self.others)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.make())


class Entries(Protocol):
    """All entries of a plan, in order; there may be too many to hold them at once."""

    @property
    def size(self) -> int:
        """The bytes of what is on disk or decided."""

    @property
    def beyond(self) -> frozenset[str]:
        """The names that entries of other runs ask for."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Entry]: ...

    def runs(self) -> Iterator[Run]:
        """Yield the same, run by run."""


class Member(NamedTuple):
    """One member as a format writes it.

    `blocks` may be iterated once, and must be exhausted before the next member is asked for; they
    sum to `size` bytes. A member with a `link` has no blocks.
    """

    name: str
    size: int
    executable: bool
    blocks: Iterable[bytes] = ()
    link: Link | None = None


class LinkKind(enum.Enum):
    """How an alias is stored."""

    HARD = "hard"
    SYMBOLIC = "symlink"


class Link(NamedTuple):
    """A link member: for HARD the full name of an earlier member, for SYMBOLIC the link text."""

    kind: LinkKind
    target: str


class Reason(enum.Enum):
    """Why something of the source is not in the archive; the value is the words for people."""

    BASE_SITE_PACKAGES = "packages of the base interpreter"
    BASE_SCRIPT = "scripts of the base interpreter's packages"
    NOT_PYTHON = "not part of Python, though in its prefix"
    EXTERNALLY_MANAGED = "the EXTERNALLY-MANAGED marker"
    STATIC_LIBRARY = "static libraries and object files"
    BYTECODE = "bytecode caches"
    UV_BOOKKEEPING = "uv's own bookkeeping"
    VENV_BOOKKEEPING = "the virtual environment's own bookkeeping"
    ACTIVATE = "activation scripts that cannot be made relocatable"
    EDITABLE_HOOK = "hooks of editable installs"
    LOCAL_URL = "direct_url.json files that name a local path"
    SHADOWED = "distributions of the base that the environment replaces"
    DANGLING = "links that lead nowhere"
    SPECIAL = "sockets, pipes and devices"
    SECRETS = "what may hold secrets"
    SETTINGS = "settings of pip, uv and other tools"
    VERSION_CONTROL = "folders of version control"
    OUTPUT = "the output itself"
    EXCLUDED = "what --exclude matches"
    BROUGHT = "what the destination brings itself"
    MISSING = "files that RECORD names and that are gone"


class LeftOut(NamedTuple):
    """A source file that stays out, under the name it would have had."""

    name: str
    reason: Reason
    size: int = 0


class Clash(NamedTuple):
    """Two sources for one name; `kept` and `dropped` say whose it was."""

    name: str
    kept: str
    dropped: str


class EditableForm(enum.Enum):
    """How an editable install became real files."""

    BUILT = "built"
    COPIED = "copied"


class Editable(NamedTuple):
    """What became of one editable distribution; `note` says why it was copied, if it was."""

    name: str
    version: str
    form: EditableForm
    backend: str
    note: str = ""


class Package(NamedTuple):
    """An installed distribution: its normalised name and its version."""

    name: str
    version: str


class Plan(NamedTuple):
    """Everything that will be written, in order, and everything that will not, with reasons.

    `moves` is sorted longest `old` first; `needles` are the build machine's directories whose
    paths must not appear in the archive. `mtime` is in seconds since the epoch. `outside` pairs the
    names of links that left environment, interpreter and uv's cache with what they point to;
    `scrubbed` names files freed of credentials, `secrets` tells of those that hold any.
    """

    entries: Entries
    moves: tuple[Move, ...]
    needles: tuple[str, ...]
    mtime: int
    packages: tuple[Package, ...] = ()
    editables: tuple[Editable, ...] = ()
    left_out: Collection[LeftOut] = ()
    clashes: tuple[Clash, ...] = ()
    outside: tuple[tuple[str, str], ...] = ()
    libraries: Libraries = Libraries()
    scrubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leak:
    """A build-machine path that is still in a member; `harmless` says why that does no harm."""

    name: str
    needle: str
    count: int
    harmless: str = ""


class Rendered(NamedTuple):
    """Neighbouring small members as a format made them ready; `content` is its own."""

    content: Any
    size: int


class Renderer(NamedTuple):
    """Makes several small members ready to be written, on another thread.

    Where it `compresses` them, that is work for all workers.
    """

    render: Callable[[Sequence[Member]], Rendered]
    compresses: bool


Item: TypeAlias = Member | Rendered | Seam | Packed
"""What a format is given: members, where their runs end, and runs that were packed before."""


class Relocator(Protocol):
    """Knows one kind of file that holds absolute paths. Pure: bytes in, edits out, no I/O."""

    @property
    def why(self) -> tuple[str, ...]:
        """Every reason its edits can have."""

    def claims(self, name: str, head: bytes) -> bool:
        """Say whether this file is of the kind, by its name and its first 4096 bytes."""

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterable[Edit]:
        """Yield the edits that make the file right at any place; none if it is right already."""


class Format(Protocol):
    """One kind of output. Knows nothing of environments: members in, bytes out."""

    @property
    def name(self) -> str:
        """The word for it on the command line."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of OUT that mean this format, the usual one first."""

    @property
    def hardlinks(self) -> bool:
        """Whether it can hold hard links."""

    @property
    def symlinks(self) -> bool:
        """Whether it can hold symbolic links."""

    @property
    def levels(self) -> bool:
        """Whether `--compress-level` has a meaning."""

    @property
    def folder(self) -> bool:
        """Whether the output is a directory rather than a file."""

    def engine(self, level: int | None) -> str:
        """Say what makes the bytes of a run, versions included; "" if runs are not kept."""

    def renderer(self, *, level: int | None, mtime: int) -> Renderer | None:
        """Return what may make several small members ready at once; None if it takes them singly.

        What it makes of them is for `write` with the same `level` and `mtime`.
        """

    def write(
        self,
        items: Iterable[Item],
        target: str,
        *,
        level: int | None,
        mtime: int,
        pool: Pool,
    ) -> None:
        """Create `target`, which does not exist, from `items` in the order given.

        Only a format that keeps runs is given `Packed` ones. `level` is 1 (fast) to 9 (small), None
        for the format's default. Raises OSError as the file system gives it; the caller removes
        what was begun.
        """
