"""After a change of what models mean, they are learned anew, and the workers go on."""

from dataclasses import replace
from pathlib import Path

import pytest

from consumer.core.settings import ChurnSettings
from consumer.default_catalogue import default_catalogue
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models.rebuild import rebuild_models
from schemas.codec import Decoder
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.in_process import work_until
from tests.kafka.harness.stream import shop_stream


@pytest.mark.kafka
def test_a_changed_horizon_is_refused_until_the_models_are_rebuilt(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """The worker says what to do; doing it is enough."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    cluster.create()
    stream = shop_stream(customers=100, sessions=1_200, partitions=cluster.partitions)
    cluster.produce(stream)

    def churn_learned(_: object) -> bool:
        return any((message.key() or b"").startswith(b"churn@") for message in cluster.read("models"))

    work_until(cluster, lambda watcher: watcher.records >= len(stream) and churn_learned(watcher))

    changed = replace(cluster, core=replace(cluster.core, churn=ChurnSettings(horizon_days=30.0)))
    with pytest.raises(CannotGoOn, match="nextbest models rebuild"):
        work_until(changed, lambda _: False)

    folded = rebuild_models(changed.reached(), changed.core, default_catalogue(), decoder=Decoder(), stop=lambda: False)
    assert folded["churn"] > 0
    assert folded["preference"] > 0
    more = shop_stream(customers=20, sessions=50, partitions=cluster.partitions, seed=2)
    changed.produce(more)
    work_until(changed, lambda watcher: watcher.records >= len(more))
