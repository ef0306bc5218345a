"""nanoGPT on TinyShakespeare (section 4.3), trained as nanoGPT's example for a CPU says."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from tqdm.auto import tqdm

from examples import data
from examples.models import CharTransformer
from examples.report.study import Arrays, Study

LOSS = torch.nn.CrossEntropyLoss()
LOOKS = (0, 250, 500, 1000, 1500, 2000)
_BATCH, _BLOCK, _STEPS, _WARM = 12, 64, 2000, 100
_RATE, _LEAST = 1e-3, 1e-4


def model(seed: int = 0) -> CharTransformer:
    """4 layers, 4 heads, width 128: 804,096 parameters, the residual branches scaled at first."""
    torch.manual_seed(seed)
    made = CharTransformer()
    with torch.no_grad():
        for block in made.blocks:
            for layer in (block.out, block.down):
                layer.weight /= math.sqrt(2 * len(made.blocks))
    return made


def training(study: Study) -> Arrays:
    """Parameters after the steps that are looked at, and the losses there."""
    return study.once("nanogpt", partial(_trained, study))


def _trained(study: Study) -> Arrays:
    made, found = model(), dict[str, np.ndarray]()
    looks = [study.sized(look, look // 10) for look in LOOKS]
    decayed = [p for p in made.parameters() if p.ndim > 1]
    rest = [p for p in made.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=_RATE, betas=(0.9, 0.99))
    for step in tqdm(range(looks[-1] + 1), desc="nanoGPT", leave=False):
        if step in looks:
            flat = torch.nn.utils.parameters_to_vector(made.parameters())
            name = LOOKS[looks.index(step)]
            found[f"step_{name}"] = flat.detach().numpy().copy()
            found[f"loss_{name}"] = np.array(_loss(study, made))
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, looks[-1])
        x, y = data.characters(study.data, _BATCH, _BLOCK, seed=step + 1)
        optimizer.zero_grad()
        LOSS(made(x), y).backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
    return found


def _rate(step: int, last: int) -> float:
    """Linear at first, then half a cosine."""
    warm = _WARM * last // _STEPS
    if step < warm:
        return _RATE * (step + 1) / (warm + 1)
    share = (step - warm) / max(1, last - warm)
    return _LEAST + (_RATE - _LEAST) * (1 + math.cos(math.pi * share)) / 2


def _loss(study: Study, made: torch.nn.Module) -> float:
    """Over the blocks that the Hessian is of."""
    with torch.no_grad():
        return float(np.mean([float(LOSS(made(x), y)) for x, y in blocks(study)]))


def blocks(study: Study) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """400 blocks of 64 characters, 25,600 examples, in batches of 50."""
    x, y = data.characters(study.data, study.sized(400, 20), _BLOCK, seed=0)
    return list(zip(x.split(50), y.split(50), strict=True))
