"""Experiments: one data set, several rollouts or ways to train, several seeds, one yardstick.

Owns the schema of an experiment file, and the protocol that a machine follows: the full one, or
the reduced one. ``experiment_run`` does a single run of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import (
    Frozen,
    first_finding,
    inside,
    read_yaml,
)
from streaming_net_ros.training.plan import TrainingPlan, parse_plan

Count = Annotated[int, Field(strict=True, ge=1)]
VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .,+()-]*$", max_length=64)]
Share = Annotated[float, Field(gt=0, lt=1)]


class DataSpec(Frozen):
    """The data of an experiment.

    Attributes:
        kind: of ``datasets``.
        limit: pictures (or tracks) of the training part; None for all.
        test_limit: of the test part.
        test_share: the test part is this share of the training part's tracks; None for the
            official test part.
    """

    kind: str
    limit: Count | None = None
    test_limit: Count | None = None
    test_share: Share | None = None


class VariantSpec(Frozen):
    """One of the things that are compared.

    Attributes:
        network: a network file, beside the shipped ones or by its path.
        rollout: streaming or sequential; None for the file's own.
        plan: what differs from the experiment's plan; a key replaces a key.
        objective: what differs in the objectives of the plan's learners.
        published: accuracies that were published, by update step.
    """

    network: str
    rollout: Literal["streaming", "sequential"] | None = None
    plan: Mapping[str, Any] = Field(default_factory=dict)
    objective: Mapping[str, Any] = Field(default_factory=dict)
    published: Mapping[int, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)


class ReducedSpec(Frozen):
    """What a machine without a GPU does instead.

    Attributes:
        constants: of the network files.
        data: keys of the data.
        plan: keys of the plan, of every variant.
        seeds: how many.
    """

    constants: Mapping[str, Any] = Field(default_factory=dict)
    data: Mapping[str, Any] = Field(default_factory=dict)
    plan: Mapping[str, Any] = Field(default_factory=dict)
    seeds: Count | None = None


class ExperimentSpec(Frozen):
    """An experiment file.

    Attributes:
        name: of the experiment.
        title: of its picture.
        data: what is shown.
        plan: how every variant is trained; see ``TrainingPlan``.
        variants: by name.
        seeds: trainings of each variant.
        horizon_steps: up to which the newest answer is held, and its accuracy averaged.
        target_accuracy: the update step that reaches it is told.
        switch_step: the test part is shown a second time, and at this update step each stimulus
            gives way to another: how long is the old answer held? None for no such test.
        reduced: for a machine without a GPU; None if the full protocol is small enough.
        source: where the protocol or the published figures come from.
    """

    name: str
    title: str
    data: DataSpec
    plan: Mapping[str, Any]
    variants: Annotated[Mapping[VariantName, VariantSpec], Field(min_length=1)]
    seeds: Count = 3
    horizon_steps: Count
    target_accuracy: Share = 0.5
    switch_step: Count | None = None
    reduced: ReducedSpec | None = None
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> ExperimentSpec:
        for reduced in (False, True):
            protocol = protocol_of(self, reduced=reduced)
            for name, variant in self.variants.items():
                which = f"variants.{name}.plan" + ", reduced" * protocol.is_reduced
                plan = _plan_of(protocol.plan, variant, 0, which)
                if self.switch_step is not None and plan.horizon_steps is None:
                    raise ParameterError(
                        "'switch_step' needs a plan with 'horizon_steps'",
                        where=which,
                        remedy="a picture must arrive in each update step",
                    )
        return self


@dataclass(frozen=True)
class Protocol:
    """What is done: the full protocol, or the reduced one.

    Attributes:
        is_reduced: which.
        data: what is shown.
        plan: keys of every variant's plan, before the variant's own.
        constants: of the network files.
        seeds: trainings of each variant.
    """

    is_reduced: bool
    data: DataSpec
    plan: Mapping[str, Any]
    constants: Mapping[str, Any]
    seeds: int

    def plan_of(self, variant: VariantSpec, seed: int) -> TrainingPlan:
        """The plan of one run."""
        return _plan_of(self.plan, variant, seed, "plan")


def read_experiment(path: Path) -> ExperimentSpec:
    """Read and check an experiment file.

    Raises:
        NetworkFileError: not a YAML mapping.
        ParameterError: anything in it that is not right, with the place.
    """
    try:
        return ExperimentSpec.model_validate(
            read_yaml(path, "experiment", "name, data, plan, variants, ...", "docs/experiments.md")
        )
    except ValidationError as error:
        raise first_finding(error, inside(str(path)), ExperimentSpec, ParameterError) from None
    except ParameterError as error:  # of a plan inside
        raise ParameterError(
            error.what,
            where=f"{path}: {error.where}",
            expected=error.expected,
            got=error.got,
            remedy=error.remedy,
        ) from None


def protocol_of(spec: ExperimentSpec, *, reduced: bool, seeds: int | None = None) -> Protocol:
    """The protocol: full, or reduced where there is a reduced one."""
    small = spec.reduced if reduced else None
    if small is None:
        return Protocol(False, spec.data, spec.plan, {}, seeds or spec.seeds)
    try:
        data = DataSpec.model_validate({**spec.data.model_dump(), **small.data})
    except ValidationError as error:
        raise first_finding(error, inside("reduced.data"), DataSpec, ParameterError) from None
    plan = {**spec.plan, **small.plan}
    return Protocol(True, data, plan, small.constants, seeds or small.seeds or spec.seeds)


def _plan_of(plan: Mapping[str, Any], variant: VariantSpec, seed: int, where: str) -> TrainingPlan:
    """The experiment's plan with what differs in a variant."""
    content = {**plan, **variant.plan, "seed": seed}
    whole = parse_plan(content, where)
    if not variant.objective:
        return whole
    learners = [
        {
            **learner,
            "objectives": [{**o, **variant.objective} for o in learner.get("objectives", ())],
        }
        for learner in content["learners"]
    ]
    return parse_plan({**content, "learners": learners}, where)
