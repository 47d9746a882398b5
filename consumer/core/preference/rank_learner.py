"""How rankers learn: from differences between the features of what was chosen and of what it is compared with."""

from consumer.core.learning.linear import LinearLearner, LinearState
from schemas.records import TrainingExample


class RankLearner:
    """Folds the examples of one head into the weights of a ranker."""

    def __init__(self, head: str, feature_set: str, state: LinearState) -> None:
        self._head = head
        self._feature_set = feature_set
        self._model = LinearLearner(state)

    def learn(self, example: TrainingExample) -> None:
        """Fold the rows of one example in; examples of other heads or features teach nothing.

        The log outlives builds: a trainer, or a rebuild, meets examples of the features before. The model has no
        intercept, so (row, 1) says all that (−row, 0) would. Raises ValueError for rows of another length.
        """
        if example.head != self._head or example.feature_set != self._feature_set:
            return
        width = len(self._model.names)
        if len(example.features) != example.rows * width:
            raise ValueError(f"a {self._head} example has {len(example.features)} features in {example.rows} rows")
        for start in range(0, len(example.features), width):
            self._model.learn(example.features[start : start + width], 1.0, example.weight)

    def state(self) -> LinearState:
        """Return everything that the next `learn` depends on, as plain data."""
        return self._model.state()
