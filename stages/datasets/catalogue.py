"""The data sets that a configuration may name: a union over `name`. One more is a class and a line here."""

from typing import Annotated

from pydantic import Field

from stages.datasets.action_sets import (
    ActionLists,
    ActivityNetActions,
    FewShotLists,
    Hmdb51,
    KineticsTables,
    SomethingSomething,
    Ucf101,
)
from stages.datasets.described_sets import (
    ActivityNet,
    Coin,
    CrossTask,
    DiDeMo,
    Msrvtt,
    MsrvttQuestions,
    MsrvttTest1kA,
    YouCook2,
    YouCook2MilNce,
)

AnyDataset = Annotated[
    YouCook2
    | YouCook2MilNce
    | MsrvttTest1kA
    | Msrvtt
    | MsrvttQuestions
    | ActivityNet
    | DiDeMo
    | Coin
    | CrossTask
    | Ucf101
    | Hmdb51
    | ActionLists
    | KineticsTables
    | SomethingSomething
    | ActivityNetActions
    | FewShotLists,
    Field(discriminator="name"),
]
