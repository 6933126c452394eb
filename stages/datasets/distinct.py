"""A name that may stand only once."""

from stages.errors import ConfigError


class Distinct:
    """Remembers where names stood, and refuses one that comes again."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._where: dict[str, str] = {}

    def add(self, name: str, where: str) -> None:
        """Take note of a name.

        Raises:
            ConfigError: it stood before; both places are named.
        """
        before = self._where.setdefault(name, where)
        if before != where:
            raise ConfigError(
                f"{where}: the {self._kind} {name!r} stands at {before} already, expected once; keep one of the two"
            )
