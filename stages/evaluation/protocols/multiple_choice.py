"""Multiple-choice questions about whole videos: the answer whose text is most like the video.

Source: papers.md 7.4 (VideoCLIP on MSR-VTT's multiple choice: pooled video . pooled answer, first 32 s, accuracy). The
published scorer takes the first of equal answers; our rule gives each of m equal best answers 1/m.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.datasets.records import Question
from stages.evaluation.checks import one_answer_warning
from stages.evaluation.encoding import ClipSpan
from stages.evaluation.material import Material
from stages.evaluation.protocol_configs import MultipleChoiceConfig
from stages.evaluation.records import F64, Outcome, ProtocolResult
from stages.evaluation.retrieval import Definition, similarity_words
from stages.evaluation.scoring import ProtocolSettings, outcome_score

_NAME = "multiple_choice"
_ALWAYS = "most frequent place"


def multiple_choice(
    material: Material, config: MultipleChoiceConfig, settings: ProtocolSettings
) -> list[ProtocolResult]:
    """Measure how often the right answer is most like the video.

    Args:
        material: a data set with questions.
        config: how much of a video is seen.
        settings: bootstrap.

    Returns:
        `multiple_choice`, with the accuracy.
    """
    encoder, questions = material.open_encoder, material.measured.questions
    definition = Definition(
        name=_NAME,
        title="Multiple choice",
        definition="query = a question's video; gallery = its own answers; right is the one that the file names",
        similarity=similarity_words(normalised=encoder.facts("").normalised),
    )
    source_ids = list(dict.fromkeys(question.source_id for question in questions))
    vectors, found = encoder.clips([ClipSpan(source_id=name) for name in source_ids], max_rows=config.max_rows)
    place = {name: row for row, name in enumerate(source_ids) if found[row]}
    asked = [question for question in questions if question.source_id in place]
    missing = {"questions_without_rows": len(questions) - len(asked)}
    if not asked:
        return [definition.result(not_evaluated="no question is about a video with features", missing=missing)]
    answers = encoder.texts([option for question in asked for option in question.options]).astype(np.float64)
    ends = np.cumsum([len(question.options) for question in asked])[:-1]
    scores = [
        options @ vectors[place[question.source_id]].astype(np.float64)
        for question, options in zip(asked, np.split(answers, ends), strict=True)
    ]
    return [_result(definition, asked, scores, settings, missing)]


def shares_right(questions: Sequence[Question], scores: Sequence[F64]) -> F64:
    """How much of each question is right: 1 / m if the right answer is among the m best, else 0.

    Args:
        questions: Q.
        scores: Q arrays, one number an option.

    Returns:
        (Q,) float64.

    Raises:
        ValueError: a score is NaN.
    """
    if any(np.isnan(found).any() for found in scores):
        raise ValueError("an answer's score is NaN; mend the encoder or the vectors")
    best = [np.flatnonzero(found == found.max()) for found in scores]
    return np.array([(q.answer in places) / len(places) for q, places in zip(questions, best, strict=True)])


def _result(
    definition: Definition,
    questions: Sequence[Question],
    scores: Sequence[F64],
    settings: ProtocolSettings,
    missing: dict[str, int],
) -> ProtocolResult:
    outcome = Outcome(
        metric="accuracy",
        unit_ids=tuple(question.question_id for question in questions),
        values=shares_right(questions, scores),
        weights=np.ones(len(questions)),
    )
    answered = np.array([int(found.argmax()) for found in scores])
    right: NDArray[np.bool_] = answered == np.array([question.answer for question in questions])
    most_frequent = Counter(question.answer for question in questions).most_common(1)[0][1] / len(questions)
    score = outcome_score(
        outcome,
        settings,
        settings.generator(definition.name),
        chance=float(np.mean([1 / len(question.options) for question in questions])),
        legacy=float(right.mean()),
        baselines={_ALWAYS: most_frequent},
    )
    return definition.result(
        scores=(score,),
        outcomes=(outcome,),
        unit="question",
        num_units=len(questions),
        missing=missing,
        warnings=one_answer_warning([f"the answer in place {place}" for place in answered]),
    )
