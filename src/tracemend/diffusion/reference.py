"""Checkpoints of the study's reference implementation (the public SSSD code) as models of this package.

Names and shapes only are translated: the networks compute the same function. A checkpoint is a state dict as
safetensors; sizes are read off its tensors. Axis legend: H width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tracemend.diffusion.denoiser import build, fitted
from tracemend.diffusion.recipes import Recipe, published
from tracemend.diffusion.restorer import Restorer
from tracemend.errors import ModelError
from tracemend.trace.vocabulary import Vocabulary

Weights = dict[str, Tensor]

#: Beginnings of names that only one of the models has.
MARKS = {
    "diffwave": "residual_layer.residual_blocks.0.dilated_conv_layer.",
    "sssd-s4": "residual_layer.residual_blocks.0.S41.",
    "sssd-sa": "d_layers.0.",
    "csdi-s4": "diffmodel.residual_layers.0.time_layer.s4_layer.",
}


def read(path: Path, vocabulary: Vocabulary, *, cycle: int = 12) -> Restorer:
    """The model in a checkpoint. cycle: DiffWave's dilation cycle, which its weights don't tell.

    Raises ModelError for a file that is no such checkpoint, or one whose tensors don't fit together.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as e:
        raise ModelError(f"{path}: no checkpoint ({e})") from e
    kind = next((k for k, mark in MARKS.items() if any(name.startswith(mark) for name in weights)), None)
    if kind is None:
        raise ModelError(f"{path}: not a checkpoint of {', '.join(MARKS)}")
    try:
        recipe = sizes(kind, weights, cycle)
        named = NAMES[kind](weights)
    except (KeyError, IndexError, ValueError, RuntimeError, StopIteration, ZeroDivisionError) as e:
        first = str(e).splitlines()[0] if str(e) else "its kernels' roots of unity"
        raise ModelError(f"{path}: not a whole {kind} checkpoint: {first}") from e
    what = f"{path}: a {kind} checkpoint whose tensors don't fit"
    try:
        network = build(recipe, vocabulary)[1]
    except RuntimeError as e:
        raise ModelError(f"{what}: {str(e).splitlines()[-1].strip()}") from e
    return Restorer(recipe, vocabulary, fitted(network, named, what))


def kernel_length(weights: Weights) -> int:
    """The length that the S4 kernels were made for, from the angle of their first root of unity."""
    omega = next(v for k, v in weights.items() if k.endswith("kernel.kernel.omega"))
    return round(2 * math.pi / float(torch.atan2(-omega[1, 1], omega[1, 0])))


def sizes(kind: str, weights: Weights, cycle: int) -> Recipe:
    """The published recipe with the checkpoint's sizes."""
    start = published(kind, "paper")
    options = dict(start.options)
    state = next((2 * v.shape[2] for k, v in weights.items() if k.endswith("kernel.kernel.C")), 0)
    if state:
        length = kernel_length(weights)
        options |= {"state": state, "length": length, "inverse": length - length % 2}
    if kind == "csdi-s4":
        inner = weights["diffmodel.diffusion_embedding.projection1.weight"]
        width = weights["diffmodel.input_projection.weight"].shape[0]
        options["layers"] = _count(weights, "diffmodel.residual_layers.")
        how = start.how | {"embedding": [inner.shape[1], *[inner.shape[0]] * 2]}
        how["feature"] = weights["embed_layer.weight"].shape[1]
        return replace(start, width=width, options=options, how=how)
    prefix = "" if kind == "sssd-sa" else "residual_layer."
    first, second = weights[f"{prefix}fc_t1.weight"], weights[f"{prefix}fc_t2.weight"]
    how = start.how | {"embedding": [first.shape[1], first.shape[0], second.shape[0]]}
    if kind == "sssd-sa":
        options["layers"] = _count(weights, "c_layers.") // 2
        options["expand"] = (
            weights["c_layers.1.layer.ff.0.0.weight"].shape[0] // weights["c_layers.1.norm.weight"].shape[0]
        )
        options["label"] = list(weights["cond_embedding.weight"].shape)
        return replace(start, width=weights["norm.weight"].shape[0], options=options, how=how)
    options["layers"] = _count(weights, "residual_layer.residual_blocks.")
    if kind == "diffwave":
        options["cycle"] = cycle
    return replace(start, width=weights["init_conv.0.conv.bias"].shape[0], options=options, how=how)


def _count(weights: Weights, prefix: str) -> int:
    return 1 + max(int(k.removeprefix(prefix).split(".")[0]) for k in weights if k.startswith(prefix))


def _stack(weights: Weights) -> Weights:
    """DiffWave and SSSD-S4."""
    parts = {
        "dilated_conv_layer.conv.": "before.",
        "conv_layer.conv.": "before.0.",
        "S41.": "before.1.",
        "S42.": "after.",
        "fc_t.": "time.",
        "cond_conv.conv.": "cond.",
        "res_conv.": "onward.",
        "skip_conv.": "skip.",
    }
    whole = {
        "init_conv.0.conv.": "stem.inner.",
        "residual_layer.fc_t1.": "time.0.",
        "residual_layer.fc_t2.": "time.2.",
        "final_conv.0.conv.": "head.inner.",
        "final_conv.2.conv.": "head.outer.",
    }

    def block(result: Weights, number: str, rest: str, value: Tensor) -> None:
        _put(result, f"backbone.blocks.{number}.{_renamed(rest, parts)}", value)

    return _in_blocks(weights, "residual_layer.residual_blocks.", whole, block)


def _sashimi(weights: Weights) -> Weights:
    """SSSD-SA."""
    whole = {
        "init_conv.0.": "stem.inner.",
        "fc_t1.": "time.0.",
        "fc_t2.": "time.2.",
        "final_conv.0.": "head.inner.",
        "final_conv.2.": "head.outer.",
        "norm.": "backbone.norm.",
        "cond_embedding.": "backbone.label.",
        "d_layers.": "backbone.down.",
        "c_layers.": "backbone.center.",
    }
    parts = {
        ".cond_conv.conv.": ".cond.",
        ".fc_label.": ".label.",
        ".fc_t.": ".time.",
        ".layer.output_linear.0.": ".layer.out.",
        ".layer.ff.0.0.": ".layer.0.",
        ".layer.ff.2.": ".layer.2.",
        ".linear.": ".out.",
    }
    level = _count(weights, "c_layers.") + 1
    result: Weights = {}
    for name, value in weights.items():
        if name.startswith("u_layers."):
            _, block, number, rest = name.split(".", 3)
            target = f"backbone.up.{int(block) * level + int(number)}.{rest}"
        else:
            target = _renamed(name, whole)
        for old, new in parts.items():
            target = target.replace(old, new)
        _put(result, target, value)
    return result


def _csdi(weights: Weights) -> Weights:
    """CSDI-S4. Its gate comes first and its value second, and one convolution gives what goes on and what is summed."""
    parts = {
        "diffusion_projection.": "time.",
        "cond_projection.": "cond.",
        "mid_projection.": "before.1.",
        "time_layer.": "before.0.",
    }
    whole = {
        "diffmodel.diffusion_embedding.projection1.": "time.0.",
        "diffmodel.diffusion_embedding.projection2.": "time.2.",
        "diffmodel.input_projection.": "stem.inner.",
        "diffmodel.output_projection1.": "head.inner.",
        "diffmodel.output_projection2.": "head.outer.",
    }

    def block(result: Weights, number: str, rest: str, value: Tensor) -> None:
        here = f"backbone.blocks.{number}."
        if rest.startswith("feature_layer.layers.0."):
            result[f"backbone.idle.{number}.{rest.removeprefix('feature_layer.layers.0.')}"] = value
        elif rest.startswith("output_projection."):
            end = rest.removeprefix("output_projection.")
            result[f"{here}onward.{end}"], result[f"{here}skip.{end}"] = value.chunk(2)
        elif rest.startswith(("cond_projection.", "mid_projection.")):
            _put(result, here + _renamed(rest, parts), torch.cat(value.chunk(2)[::-1]))
        else:
            _put(result, here + _renamed(rest, parts), value)

    rest = {name: value for name, value in weights.items() if name != "embed_layer.weight"}
    feature = {"stem.feature": weights["embed_layer.weight"][0]} if len(rest) < len(weights) else {}
    return feature | _in_blocks(rest, "diffmodel.residual_layers.", whole, block)


def _in_blocks(
    weights: Weights, prefix: str, whole: dict[str, str], block: Callable[[Weights, str, str, Tensor], None]
) -> Weights:
    """Names translated by ``whole``; those behind ``prefix`` are of a numbered block, and ``block`` puts them."""
    result: Weights = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            number, rest = name.removeprefix(prefix).split(".", 1)
            block(result, number, rest, value)
        else:
            _put(result, _renamed(name, whole), value)
    return result


NAMES = {"diffwave": _stack, "sssd-s4": _stack, "sssd-sa": _sashimi, "csdi-s4": _csdi}


def _renamed(name: str, table: dict[str, str]) -> str:
    """The name with its beginning translated. Raises KeyError for one that the table doesn't hold."""
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    raise KeyError(f"no place for {name}")


def _put(result: Weights, name: str, value: Tensor) -> None:
    """Store a tensor under its name, S4 layers and weight norm translated."""
    for old, new in (
        ("s4_layer.", "mixer."),
        ("norm_layer.", "norm."),
        ("kernel.kernel.", "kernel."),
        ("output_linear.", "out."),
        ("weight_g", "parametrizations.weight.original0"),
        ("weight_v", "parametrizations.weight.original1"),
    ):
        name = name.replace(old, new)
    end = name.rsplit(".", 1)[-1]
    if ".kernel." in name and end in {"omega", "z"}:
        return
    if ((".kernel." in name and end in {"B", "P", "Q"}) or end == "D") and value.shape[0] == 1:
        value = value[0]
    elif end == "bias" and value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    elif value.ndim == 2 and (".out." in name or ".layer.0." in name or ".layer.2." in name):
        value = value[..., None]
    result[name] = value.contiguous()
