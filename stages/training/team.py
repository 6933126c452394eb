"""The processes that train one model together, and what passes between them.

Every process has the whole model and a part of each batch. It encodes its part; `gather` then gives all of them all
rows, so that the loss is the one of the whole batch wherever it is computed. Gradients are averaged: a row that one
process encoded gets its gradient from the losses of all, and a weight behind the gathering the same from each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stages.errors import TransientError


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a batch is meant: number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    def of(self, num_items: int) -> slice:
        """The items of this part: neighbours, the first parts one longer where it does not divide."""
        base, longer = divmod(num_items, self.size)
        start = self.rank * base + min(self.rank, longer)
        return slice(start, start + base + (self.rank < longer))


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of one training, as one of them sees them.

    Attributes:
        rank: which one this is; 0 leads: it keeps checkpoints, reports, and writes what is made.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> "Team":
        """Those of torch's process group, or this process alone if there is none."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def part(self) -> Part:
        """This process's part of every batch."""
        return Part(self.rank, self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """Join the rows of all processes in their order; gradients flow back to each.

        Args:
            rows: (N_r, ...), as many as this process has; the further axes are equal everywhere.

        Returns:
            (sum of N_r, ...), the same in every process.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return gathered

    def average_gradients(self, module: nn.Module) -> None:
        """Give every process the mean over all of each gradient; one that a process lacks counts as zero."""
        if self.size == 1:
            return
        for parameter in module.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                with _others_answer():
                    dist.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            with _others_answer():
                dist.barrier()


ALONE = Team()


@contextmanager
def _others_answer() -> Iterator[None]:
    """Say what it means when a collective operation breaks.

    Raises:
        TransientError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        raise TransientError(f"another process of the team is gone: {str(error).splitlines()[0]}") from error


class _Gather(torch.autograd.Function):
    """All rows forward; backward the sum over processes of the gradients of this process's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, team: Team) -> Tensor:
        counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(team.size)]
        with _others_answer():
            dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        lengths = [int(count) for count in counts]
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        received = [torch.empty_like(padded) for _ in lengths]
        with _others_answer():
            dist.all_gather(received, padded)
        start = sum(lengths[: team.rank])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([each[:length] for each, length in zip(received, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        summed = grad.contiguous().clone()
        with _others_answer():
            dist.all_reduce(summed)
        return summed[ctx.own], None
