"""What groups learnt in a run, learnt again from its ledger: the same updates, the same weights.

The ledger says of every update from which frames it was made and before which frame it took
effect; the frames' states are computed again anyway. Imported by ``replay``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.ledger import FrameLine, LearningLine, Line, RunHead
from streaming_net_ros.network.ledger_check import NodeFrame, place
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.online import Lesson, OnlineLearner


class LearntAgain:
    """The learners of the groups that learnt.

    Args:
        network: all groups, with the weights of the run's beginning.
        lines: of the ledger.
        head: of the ledger; without it updates are made on as many threads as torch is set to.
    """

    def __init__(
        self, network: StreamingNetwork, lines: Sequence[Line], head: RunHead | None
    ) -> None:
        told = [line for line in lines if isinstance(line, LearningLine)]
        self._network = network
        self._head = head
        self._learners = {name: self._learner(name) for name in {line.group for line in told}}
        self._uses = Counter((line.group, frame) for line in told for frame in line.lessons)
        self._lessons: dict[NodeFrame, Lesson] = {}

    def restart(self, group: str) -> None:
        """The group's process was started again: it has learnt nothing yet."""
        if group in self._learners:
            self._learners[group] = self._learner(group)

    def lived(self, line: FrameLine, heard: Mapping[str, Tensor]) -> None:
        """A frame was computed again."""
        key = line.group, line.frame
        if self._uses[key] and not line.is_repeated:
            self._lessons[key] = Lesson(line.frame, dict(heard))

    def take(self, line: LearningLine) -> None:
        """What was learnt takes effect.

        Raises:
            LedgerError: it does not follow from the frames that it names.
        """
        learner = self._learners[line.group]
        if line.what != "update":
            if line.what == "take_back":
                learner.take_back()
            else:
                learner.begin(anew=line.what == "begin_anew")
            return
        lessons = [self._used((line.group, frame), line) for frame in line.lessons]
        learner.rate = line.rate
        if not learner.is_on or not lessons or not learner.apply(learner.compute(lessons)):
            raise LedgerError("no update follows from these frames", where=place(line))

    def _learner(self, group: str) -> OnlineLearner:
        return OnlineLearner(self._network, group, _threads(self._head, group))

    def _used(self, key: NodeFrame, line: LearningLine) -> Lesson:
        lesson = self._lessons.get(key)
        if lesson is None:
            raise LedgerError(
                f"frame {key[1]}, which it was made from, was not finite", where=place(line)
            )
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._lessons[key]
        return lesson


def _threads(head: RunHead | None, group: str) -> int | None:
    if head is None:
        return None
    return head.tuned[group].torch_threads if group in head.tuned else head.torch_threads
