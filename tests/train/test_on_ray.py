"""A run on a Ray cluster of two nodes is the run of one process, and is refused in its words."""

from __future__ import annotations

import pytest

from sdvlm.train.config import LoraSettings
from sdvlm.train.run import train
from sdvlm.types import SdvlmError

from .runs import config_of, losses

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """Address of a cluster of two nodes with one CPU each."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'sdvlm[ray]')")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        store = 100 * 2**20
        polite = {"worker_niceness": 0}  # not behind all else that runs on the machine
        node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": store, "_system_config": polite}
        made = Cluster(initialize_head=True, head_node_args=node)
        try:
            made.add_node(num_cpus=1, object_store_memory=store)
            yield made.address
        finally:
            made.shutdown()


def test_two_workers_train_as_one_process_does(cluster, model_folders, chat, tmp_path):
    from sdvlm.train.on_ray import LOG, train_on_ray

    config = config_of(model_folders["llava"], chat, steps=3, lora=LoraSettings(4, 8, 0.0))
    whole = train(config, tmp_path / "one", cache=tmp_path / "cache")
    told = []
    found = train_on_ray(config, tmp_path / "two", 2, address=cluster, cache=tmp_path / "cache", say=told.append)
    assert losses(found.out) == pytest.approx(losses(whole.out), rel=1e-4)
    assert found.summary["heldout"] == pytest.approx(whole.summary["heldout"], rel=1e-3)
    assert (found.summary["processes"], found.resumed) == (2, None)
    assert "step 3 of 3" in (found.out / LOG).read_text(encoding="utf-8")
    assert str(found.out / LOG) in told[0]
    assert not (found.out / ".ray").exists()

    other = config_of(model_folders["llava"], chat, steps=4, lora=LoraSettings(4, 8, 0.0))
    with pytest.raises(SdvlmError, match=r"holds a run with other settings \(arguments in recipe.yaml\)") as refused:
        train_on_ray(other, tmp_path / "two", 2, address=cluster, cache=tmp_path / "cache")
    assert "\n" not in str(refused.value)


def test_more_workers_than_the_cluster_holds_are_refused(cluster, model_folders, chat, tmp_path):
    from sdvlm.train.on_ray import train_on_ray

    config = config_of(model_folders["llava"], chat)
    with pytest.raises(SdvlmError, match="3 workers of 1 CPU each do not fit on the cluster, which has 2 CPU"):
        train_on_ray(config, tmp_path / "run", 3, address=cluster)
    with pytest.raises(SdvlmError, match="2 workers of 4 GPU each do not fit on the cluster, which has 0 GPU"):
        train_on_ray(config, tmp_path / "run", 2, gpus=4, address=cluster)
    assert not (tmp_path / "run").exists()
