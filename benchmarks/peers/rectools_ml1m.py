"""RecTools' SASRec on the ML-1M split that `python -m benchmarks.peer_models` wrote; runs in RecTools' environment.

    python benchmarks/peers/rectools_ml1m.py --split SPLIT.npz --out FOLDER [--layers ligr --loss sampled_softmax]

Settings: 64 factors, 2 blocks, 1 head, dropout .1, Adam at 1e-3, batches of 128, as published for ML-1M by
Klenitskiy & Vasilev (RecSys 2023, with the full softmax) and in RecTools' own benchmark (eSASRec, RecSys 2025, with
256 sampled negatives and LiGR layers: --layers ligr --loss sampled_softmax).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

sys.path.insert(0, str(Path(__file__).parent))
from meter import ITEMS, QUIET, Meter, Split, best_unseen, parser

LAYERS = {"sasrec": SASRecTransformerLayers, "ligr": LiGRLayers}


def interactions(sequences: list[np.ndarray]) -> Dataset:
    """RecTools' dataset of item sequences; order becomes seconds."""
    sizes = [len(items) for items in sequences]
    position = np.concatenate([np.arange(size) for size in sizes])
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: np.repeat(np.arange(len(sequences)), sizes),
                Columns.Item: np.concatenate(sequences),
                Columns.Weight: 1.0,
                Columns.Datetime: pd.Timestamp("2000-01-01") + pd.to_timedelta(position, unit="s"),
            }
        )
    )


class Judge(pl.Callback):  # type: ignore[misc]
    """After each epoch: the clock stands still, all users are answered, the state is kept."""

    def __init__(self, meter: Meter, model: Any, split: Split) -> None:
        self.meter, self.model, self.split = meter, model, split

    def on_train_start(self, *_: Any) -> None:
        self.meter.start()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.meter.stop()
        self.meter.record(trainer.current_epoch + 1, self.lists(pl_module))
        trainer.save_checkpoint(self.meter.folder / "last.ckpt")
        trainer.should_stop = self.meter.done
        pl_module.train()
        self.meter.start()

    def lists(self, module: Any) -> np.ndarray:
        """(users, DEPTH) by RecTools' own vectors of users and items."""
        prepared = self.model.data_preparator
        rows = prepared.transform_dataset_u2i(
            interactions(self.split.seen), np.arange(len(self.split.seen)), None
        )
        loader = prepared.get_dataloader_recommend(rows, 256)
        users, items = module._get_user_item_embeddings(loader, "cpu")
        known = module.item_external_ids[prepared.n_item_extra_tokens :].astype(np.int64)
        order = rows.user_id_map.external_ids.astype(np.int64)
        top = np.zeros((len(order), 20), np.int64)
        for at in range(0, len(order), 1024):
            part = order[at : at + 1024]
            scores = np.full((len(part), ITEMS), -np.inf, np.float32)
            plain = (users[at : at + 1024] @ items[prepared.n_item_extra_tokens :].T).numpy()
            scores[:, known] = plain
            top[part] = best_unseen(scores, [self.split.seen[user] for user in part])
        return top


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--layers", choices=sorted(LAYERS), default="sasrec")
    options.add_argument("--loss", choices=("softmax", "sampled_softmax", "gBCE"), default="softmax")
    given = options.parse_args()

    torch.set_num_threads(1)
    pl.seed_everything(given.seed)
    split = Split.read(given.split)
    network = {
        "n_factors": 64,
        "n_blocks": 2,
        "n_heads": 1,
        "dropout_rate": 0.1,
        "session_max_len": given.length,
    }
    sampled = {"n_negatives": 256} if given.loss != "softmax" else {}
    training = dict(loss=given.loss, lr=1e-3, batch_size=128, **sampled)
    settings = {
        "library": "rectools 0.19.0",
        "layers": given.layers,
        "seed": given.seed,
        **network,
        **training,
    }
    meter = Meter(given.out, settings, split.target, given.until, given.budget)
    if meter.done:
        return
    model = SASRecModel(
        **network,
        **training,
        transformer_layers_type=LAYERS[given.layers],
        use_key_padding_mask=given.layers == "ligr",
        item_net_block_types=(SASRecModel().item_net_block_types[0],),
    )
    model._build_model_from_dataset(interactions(split.train))
    last = given.out / "last.ckpt"
    model.lightning_model.is_fitted = last.exists()  # else training starts from new weights
    trainer = pl.Trainer(**QUIET, callbacks=[Judge(meter, model, split)])
    loader = model.data_preparator.get_dataloader_train()
    trainer.fit(model.lightning_model, loader, ckpt_path=last if last.exists() else None)


if __name__ == "__main__":
    main()
