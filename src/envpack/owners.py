"""Who owns a file of an environment, in little memory: by folder wherever that tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envpack.distributions import Distribution


class Owners:
    """Which distribution a file belongs to: by RECORD, else by its metadata directory.

    Of two distributions that record the same file, the first by name owns it. In a folder of
    site-packages where one distribution alone has files, all are its own, also those that came
    later.
    """

    def __init__(self, folder: str, dists: Iterable[Distribution]) -> None:
        self._start = folder + "/"
        self._by_info: dict[str, Distribution] = {}
        self._by_folder: dict[str, Distribution] = {}
        self._by_name: dict[str, Distribution] = {}
        shared: dict[str, list[Distribution]] = {}
        for dist in dists:
            self._by_info[dist.info] = dist
            for name in _names_of(dist):
                above = name.rpartition("/")[0]
                if not above.startswith(self._start):
                    self._by_name.setdefault(name, dist)
                elif (first := self._by_folder.setdefault(above, dist)) is not dist:
                    shared.setdefault(above, [first]).append(dist)
        for above in shared:
            del self._by_folder[above]
        self._read_shared(shared)

    def _read_shared(self, shared: dict[str, list[Distribution]]) -> None:
        """Note every file in folders of several distributions by its own name."""
        several = {dist.info: dist for dists in shared.values() for dist in dists}
        for _, dist in sorted(several.items(), key=lambda pair: (pair[1].name, pair[0])):
            for name in _names_of(dist):
                if name.rpartition("/")[0] in shared:
                    self._by_name.setdefault(name, dist)

    def of(self, name: str) -> Distribution | None:
        """Return the owner of the file `name`, None if nobody recorded it."""
        owner = self._by_folder.get(name.rpartition("/")[0]) or self._by_name.get(name)
        if owner is None and name.startswith(self._start):
            owner = self._by_info.get(name[len(self._start) :].split("/", 1)[0])
        return owner


def _names_of(dist: Distribution) -> Iterator[str]:
    return (row.name for row in dist.rows() if row.name is not None)
