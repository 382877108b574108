"""How to train: what is compared with what, by which loss, and who updates which weights.

Owns the schema of a training plan (a YAML file, or what the command line makes of its options):
frozen objects that check only themselves. Losses, optimisers and schedulers have torch's own
names and arguments. Knows neither networks nor data: ``objectives`` and ``learners`` bring a plan
together with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import (
    Frozen,
    Layers,
    Named,
    first_finding,
    inside,
    named,
    read_yaml,
)
from streaming_net_ros.training.augmentation import Augmentation

Count = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NamedThing = Annotated[Named, BeforeValidator(named)]


class ObjectiveSpec(Frozen):
    """One loss: a state, frame by frame, against what it should be.

    Attributes:
        of: an output, or a group: any state can have a loss.
        target: a target of the data, or a node: an input or a group whose state is the target
            (no gradient flows into it).
        ahead: frames by which a node's state as target is newer: 1 predicts the next frame.
        readout: layers between the state and the loss; learnt with it, and not part of the
            network.
        loss: a ``torch.nn`` loss of (input, target).
        weight: of this objective among those of its learner.
        combine: how the losses of the responses become one. ``mean`` and ``sum`` over all of
            them, ``last`` of a sequence alone, ``td``: temporal differences, every response but
            the last is compared with a mix of later ones and the target.
        td_lambda: of ``td``: 1 is the target alone, 0 the next response alone.
        responses: [first, last] responses that count, from 0 at the first response; None for all
            up to the last.
        response_weights: one per response; the last one holds for all later ones.
    """

    of: str
    target: str
    ahead: Annotated[int, Field(strict=True, ge=0)] = 0
    readout: Layers = ()
    loss: NamedThing = Named(name="CrossEntropyLoss")
    weight: Positive = 1.0
    combine: Literal["mean", "sum", "last", "td"] = "mean"
    td_lambda: Annotated[float, Field(ge=0, le=1)] = 0.5
    responses: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)] | None] = (0, None)
    response_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...],
                                Field(min_length=1)] = (1.0,)  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSpec:
        if self.combine == "last" and self.responses[1] is not None:
            raise ValueError("'last' is the last response of a sequence: leave 'responses' out")
        return self


class HebbianSpec(Frozen):
    """A local rule for the weights of a dense edge: what fires together wires together.

    Attributes:
        edge: "source -> target"; its layers must end in a Linear.
        rule: with x what the Linear hears and y the target's state, averaged over batch and
            frames, the change is
            ``hebbian`` y x^T, ``anti_hebbian`` -y x^T, ``oja`` y x^T - y^2 W (Oja 1982).
        rate: factor of the change.
        limit: largest norm of one unit's weights.
    """

    edge: str
    rule: Literal["hebbian", "anti_hebbian", "oja"] = "oja"
    rate: Positive = 1e-3
    limit: Positive = 10.0


class LearnerSpec(Frozen):
    """An optimiser with the weights that it updates, and what it follows: losses, or a rule.

    Attributes:
        name: for messages and metrics.
        objectives: losses, added up.
        hebbian: a local rule in place of losses.
        parameters: patterns of the weights' names (``*``, ``stem.*``, ``*.bias``).
        optimizer: of ``torch.optim``.
        scheduler: of ``torch.optim.lr_scheduler``; the plan's number of steps is filled in.
        every: steps from one update to the next.
        gradient_limit: norm to which gradients are clipped.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$", max_length=64)] = "main"
    objectives: tuple[ObjectiveSpec, ...] = ()
    hebbian: HebbianSpec | None = None
    parameters: tuple[str, ...] = ("*",)
    optimizer: NamedThing = Named(name="AdamW", args={"lr": 2e-3, "weight_decay": 0.1})
    scheduler: NamedThing | None = None
    every: Count = 1
    gradient_limit: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> LearnerSpec:
        if bool(self.objectives) == (self.hebbian is not None):
            raise ValueError(f"learner '{self.name}' needs either 'objectives' or 'hebbian'")
        return self


class TrainingPlan(Frozen):
    """How to train.

    Attributes:
        learners: who updates what; several at once are local learning.
        responses: of a sequence, from the first one on; None for as many as come until six
            frames after the full response.
        horizon_steps: in place of ``responses``, for moving pictures under one computing power: a
            picture arrives in each update step, and a rollout that needs F steps for a frame
            hears every F-th. As many responses as come until then.
        augmentation: how pictures are changed.
        switch: (first, last) picture of a random one from which on another clip is shown; None
            for no switch. What comes is a random other sequence.
        steps: updates of the weights.
        batch: sequences side by side.
        truncate: frames through which gradients flow back; longer sequences are learnt in pieces,
            an update each, and carry their states from piece to piece. None: the whole sequence.
        accumulate: batches whose gradients make one update.
        average: decay of the moving average of the weights that is judged and kept; None for the
            weights themselves.
        precision: of the layers' arithmetic in this training, its validations too; weights stay
            float32.
        compile: whether torch.compile makes the groups' code.
        validate_every: steps between two validations; the last step is always followed by one.
        patience: validations without a better score before training stops; None for never.
        seed: of the draw of sequences, their changes and dropout.
    """

    learners: Annotated[tuple[LearnerSpec, ...], Field(min_length=1)]
    responses: Count | None = None
    horizon_steps: Count | None = None
    augmentation: Augmentation = Augmentation()
    switch: tuple[Count, Count] | None = None
    steps: Count = 1000
    batch: Count = 16
    truncate: Count | None = None
    accumulate: Count = 1
    average: Annotated[float, Field(ge=0, lt=1)] | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    validate_every: Count = 100
    patience: Count | None = None
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> TrainingPlan:
        names = [learner.name for learner in self.learners]
        if len(set(names)) < len(names):
            raise ValueError(f"two learners have one name among {', '.join(names)}")
        if self.responses is not None and self.horizon_steps is not None:
            raise ValueError("'responses' and 'horizon_steps' exclude each other")
        if self.truncate is not None and self.accumulate > 1:
            raise ValueError("'truncate' carries states from update to update; "
                             "it cannot be put together with 'accumulate'")  # fmt: skip
        return self


def parse_plan(content: Mapping[str, Any], where: str = "plan") -> TrainingPlan:
    """A plan from plain mappings and lists.

    Raises:
        ParameterError: the key, what was expected and what was found.
    """
    try:
        return TrainingPlan.model_validate(content)
    except ValidationError as error:
        raise first_finding(error, inside(where), TrainingPlan, ParameterError) from None


def read_plan(path: Path) -> dict[str, Any]:
    """What a plan file says, not yet checked: the command line may add to it.

    Raises:
        NetworkFileError: not a YAML mapping.
    """
    return read_yaml(path, "plan", "learners, steps, batch, ...", "docs/training.md")
