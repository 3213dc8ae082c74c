"""Who owns a file of an environment, in little memory: by folder wherever that tells."""

from __future__ import annotations

from collections.abc import Iterable

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
        self._shared = {folder}
        rivals: dict[str, Distribution] = {}
        for dist in dists:
            self._by_info[dist.info] = dist
            names = dist.names()
            outside = set()
            for above in {name.rpartition("/")[0] for name in names}:
                if not above.startswith(self._start):
                    outside.add(above)
                elif (first := self._by_folder.setdefault(above, dist)) is not dist:
                    self._shared.add(above)
                    rivals |= {first.info: first, dist.info: dist}
            self._note(dist, names, outside)
            self._shared |= outside
        for _, dist in sorted(rivals.items(), key=lambda pair: (pair[1].name, pair[0])):
            self._note(dist, dist.names(), self._shared)

    def _note(self, dist: Distribution, names: Iterable[str], folders: set[str]) -> None:
        """Note the files in some folders by their own names."""
        for name in names if folders else ():
            if name.rpartition("/")[0] in folders:
                self._by_name.setdefault(name, dist)

    def shares(self, folder: str) -> bool:
        """Say whether the files of a folder may have different owners."""
        return folder in self._shared

    def of_folder(self, folder: str) -> Distribution | None:
        """Return the owner of all files of a folder that is not shared, None if nobody has any."""
        return self._by_folder.get(folder) or self._of_metadata(folder)

    def of(self, name: str) -> Distribution | None:
        """Return the owner of the file `name`, None if nobody recorded it."""
        folder = name.rpartition("/")[0]
        if folder not in self._shared:
            return self.of_folder(folder)
        return self._by_name.get(name) or self._of_metadata(name)

    def _of_metadata(self, name: str) -> Distribution | None:
        """Return the distribution whose metadata `name` is, or lies in."""
        if not name.startswith(self._start):
            return None
        return self._by_info.get(name[len(self._start) :].split("/", 1)[0])
