"""RePlay's SasRec on the ML-1M split that `python -m benchmarks.peer_models` wrote; runs in RePlay's environment.

    python benchmarks/peers/replay_ml1m.py --split SPLIT.npz --out FOLDER

`replay.nn.sequential.SasRec` with its own loader, full cross-entropy (the loss of `from_params` and of RePlay's
benchmark of MovieLens-1M) and Adam at 1e-3 (its default). Size as published for this file by Klenitskiy & Vasilev
(RecSys 2023): 64 factors, 2 blocks, 1 head, dropout .1, batches of 128; --size own takes RePlay's defaults (192
factors, 4 heads, dropout .3), which cost three times as much.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.data.nn.parquet.parquet_module import ParquetModule
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

sys.path.insert(0, str(Path(__file__).parent))
from meter import ITEMS, QUIET, Meter, Split, best_unseen, parser

SIZES = {
    "published": {"embedding_dim": 64, "num_heads": 1, "num_blocks": 2, "dropout": 0.1},
    "own": {"embedding_dim": 192, "num_heads": 4, "num_blocks": 2, "dropout": 0.3},
}


def schema_of(dim: int) -> TensorSchema:
    return TensorSchema(
        [
            TensorFeatureInfo(
                "item_id",
                feature_type=FeatureType.CATEGORICAL,
                is_seq=True,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
                embedding_dim=dim,
                cardinality=ITEMS,
                padding_value=ITEMS,
            )
        ]
    )


class Judge(lightning.Callback):  # type: ignore[misc]
    """After each epoch: the clock stands still, all users are answered, the state is kept."""

    def __init__(self, meter: Meter, split: Split, length: int) -> None:
        self.meter, self.split, self.length = meter, split, length

    def on_train_start(self, *_: Any) -> None:
        self.meter.start()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.meter.stop()
        self.meter.record(trainer.current_epoch + 1, self.lists(pl_module.model))
        trainer.save_checkpoint(self.meter.folder / "last.ckpt")
        trainer.should_stop = self.meter.done
        self.meter.start()

    def lists(self, model: Any) -> np.ndarray:
        """(users, DEPTH) by the model's own logits."""
        model.eval()
        tops = []
        with torch.inference_mode():
            for at in range(0, len(self.split.seen), 256):
                part = self.split.seen[at : at + 256]
                items = np.full((len(part), self.length), ITEMS)
                for row, seen in enumerate(part):
                    last = seen[-self.length :]
                    items[row, self.length - len(last) :] = last
                tensor = torch.from_numpy(items)
                logits = model(feature_tensors={"item_id": tensor}, padding_mask=tensor != ITEMS)["logits"]
                tops.append(best_unseen(logits[:, :ITEMS].numpy(), part))
        model.train()
        return np.concatenate(tops)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", choices=sorted(SIZES), default="published")
    given = options.parse_args()

    torch.set_num_threads(1)
    lightning.seed_everything(given.seed)
    split = Split.read(given.split)
    size = dict(SIZES[given.size], max_sequence_length=given.length)
    training = {"loss": "CE", "lr": 1e-3, "batch_size": 128}
    settings = {"library": "replay-rec 0.22.0", "seed": given.seed, **size, **training}
    meter = Meter(given.out, settings, split.target, given.until, given.budget)
    if meter.done:
        return
    rows = given.out / "train.parquet"
    pl.DataFrame({"item_id": [items.tolist() for items in split.train]}).write_parquet(rows)
    schema = schema_of(int(size["embedding_dim"]))
    data = ParquetModule(
        train_path=str(rows),
        batch_size=128,
        metadata={"train": {"item_id": {"shape": given.length + 1, "padding": ITEMS}}},
        transforms={"train": make_default_sasrec_transforms(schema)["train"]},
    )
    module = LightningModule(SasRec.from_params(schema, **size), OptimizerFactory(learning_rate=1e-3))
    trainer = lightning.Trainer(**QUIET, callbacks=[Judge(meter, split, given.length)])
    last = given.out / "last.ckpt"
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=False)


if __name__ == "__main__":
    main()
