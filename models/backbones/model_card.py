"""The page that lies beside weights of ours: what they are, where they came from, and how they are opened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a card says.

    Attributes:
        title: one line.
        summary: what the network reads and gives.
        sizes: of the network, by name.
        training: facts of how it came to be, by name.
        snippet: Python that opens the folder, which it calls `folder`.
        names: whose names the tensors carry.
    """

    title: str
    summary: str
    sizes: Mapping[str, Any]
    training: Mapping[str, Any]
    snippet: str
    names: str

    def write(self, folder: Path) -> None:
        """Write `README.md`; equal cards give equal bytes."""
        text = _PAGE.format(
            title=self.title,
            summary=self.summary,
            training=_table(self.training),
            sizes=_table(self.sizes),
            snippet=self.snippet.strip(),
            names=self.names,
        )
        (folder / CARD_FILE).write_text(text, encoding="utf-8")


_PAGE = """---
library_name: fabula
---

# {title}

{summary}

## Opening it

```python
{snippet}
```

{names}

## How it came to be

{training}

## Sizes

{sizes}
"""


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {_plain(value)} |" for name, value in sorted(values.items())]
    return "\n".join(["| what | value |", "|---|---|", *rows])


def _plain(value: Any) -> str:
    return str(value).replace("|", "\\|") if isinstance(value, str) else json.dumps(value, sort_keys=True)
