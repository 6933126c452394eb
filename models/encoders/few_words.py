"""A table of word vectors for a tower that reads hardly any of them.

VideoCLIP's video tower is a whole BERT, but of its 30,522 word vectors it reads those of [CLS] and [SEP] alone. As one
parameter the table would have a gradient, moments, a norm and an update of 30,520 rows of zeros in every step.

Letters: V words, R rows that are read, E hidden width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class FewWords(nn.Module):
    """Trains the rows that are read and keeps the others as they came; its state dict is that of `nn.Embedding`.

    Args:
        table: (V, E), whose place it takes.
        ids: of the R rows that are read.
    """

    def __init__(self, table: nn.Embedding, ids: Sequence[int]) -> None:
        super().__init__()
        self._read = tuple(ids)
        parts = self._split(table.weight.detach())
        self.rows, self.others = nn.Parameter(parts["rows"]), nn.Parameter(parts["others"], requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up rows: (...) int64 -> (..., E) float.

        Raises:
            ValueError: one of them is not read, as was said.
        """
        places = torch.tensor([self._read.index(number) for number in ids.flatten().tolist()], device=self.rows.device)
        return self.rows[places].view(*ids.shape, -1)

    def whole(self) -> Tensor:
        """Copy the table (V, E) as it is now."""
        table = self.rows.new_empty(len(self.rows) + len(self.others), self.rows.shape[1])
        table[self._read,], table[self._unread(table)] = self.rows.detach(), self.others.detach()
        return table

    def _split(self, table: Tensor) -> dict[str, Tensor]:
        return {"rows": table[self._read,], "others": table[self._unread(table)]}

    def _unread(self, table: Tensor) -> NDArray[np.int64]:
        return np.delete(np.arange(len(table)), self._read)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.whole()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        given = {name: value for name, value in state_dict.items() if name != f"{prefix}weight"}
        if (table := state_dict.get(f"{prefix}weight")) is not None:
            given |= {f"{prefix}{name}": part for name, part in self._split(table).items()}
        super()._load_from_state_dict(given, prefix, *rest)
