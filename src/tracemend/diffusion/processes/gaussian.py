"""Gaussian diffusion over the channels of a codec: noise is added to the gap and taken away again.

Ho et al., "Denoising Diffusion Probabilistic Models" (2020), for imputation as in CSDI (Tashiro et al. 2021) and SSSD
(Alcaraz and Strodthoff 2022): only the gap is noised, what is known conditions the network.

Axis legend: B batch, L length, C channels of the codec, H width, E width of the time embedding, V ids, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tracemend.diffusion.backbones.gated import convolution
from tracemend.diffusion.backbones.widths import Widths
from tracemend.diffusion.codecs import CODECS, nearest
from tracemend.diffusion.processes.base import Clock, Denoise, Noise, State
from tracemend.diffusion.schedules import SCHEDULES
from tracemend.errors import ModelError, one_of
from tracemend.trace.vocabulary import Vocabulary

PREDICTIONS = ("noise", "clean", "v")
SAMPLERS = ("ddpm", "ddim", "dpm++")
CONDITIONS = ("values", "position")
FREQUENCIES = ("falling", "ends", "rising")


@dataclass(slots=True)
class Noisy(State):
    """x_BLC, with the last prediction of the clean values and its log signal-to-noise ratio (for ``dpm++``)."""

    clean_BLC: Tensor | None = None
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Gaussian process may be made of.

    codec, schedule: names of CODECS and SCHEDULES. predict: what the network gives. consistent: known positions hold
    the same values in training and in sampling; False trains with the scaled ones of the public SSSD code,
    (sqrt(a) + sqrt(1 - a)) x, and samples with the plain ones. clip: keep predicted clean values within the codec's
    range. condition: the known "values" and the mask, or "position" and the mask with the known values beside the noisy
    ones (CSDI). embedding: widths of the time embedding. feature: width of CSDI's feature embedding; a trace has one
    feature. normed: weight norm in stem and head.

    Raises ModelError for a name that isn't known, or numbers that have no meaning.
    """

    codec: str = "bits"
    schedule: str = "cosine-zero"
    diffusion_steps: int = 200
    predict: str = "clean"
    sampler: str = "ddim"
    consistent: bool = True
    clip: bool = True
    condition: str = "values"
    embedding: Sequence[int] = (128, 128, 128)
    frequencies: str = "ends"
    feature: int = 16
    normed: bool = True

    def __post_init__(self) -> None:
        one_of("frequencies", self.frequencies, FREQUENCIES)
        if len(self.embedding) != 3 or min(*self.embedding, self.feature, self.diffusion_steps) < 1:
            raise ModelError(
                f"embedding {list(self.embedding)}, feature {self.feature} and diffusion_steps {self.diffusion_steps} "
                "must be three widths, a width and a number, all positive"
            )
        one_of("codec", self.codec, CODECS)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("prediction", self.predict, PREDICTIONS)
        one_of("sampler", self.sampler, SAMPLERS)
        one_of("condition", self.condition, CONDITIONS)


class Gaussian:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise in the gap; events are the nearest codewords of x_0."""

    causal, noisy = False, True

    def __init__(self, vocabulary: Vocabulary, **how: Any) -> None:
        """how: the fields of ``Settings`` that are not to be as usual. Raises ModelError for a combination that has no
        meaning."""
        self.how = chosen = Settings(**how)
        self.fine = chosen.codec in {"scalar", "standardised"}
        self.codes = CODECS[chosen.codec](vocabulary)
        self.alpha_bar = SCHEDULES[chosen.schedule](chosen.diffusion_steps)
        if chosen.predict == "noise" and self.alpha_bar[-1] < 1e-6:
            raise ModelError(
                f"schedule {chosen.schedule!r} ends in pure noise, from which no noise can be predicted; use 'v'"
            )

    @property
    def channels(self) -> int:
        return self.codes.shape[1]

    def stem(self, width: int) -> nn.Module:
        if self.how.condition == "position":
            return PositionStem(self.channels, width, self.how.embedding[0], self.how.feature)
        return ValueStem(self.channels, width, self.how.normed)

    def clock(self, width: int) -> nn.Module:
        inner, middle, outer = self.how.embedding
        return Clock(inner, middle, outer, frequencies=self.how.frequencies, last=True)

    def head(self, width: int) -> nn.Module:
        return Head(self.channels, width, self.how.normed)

    def widths(self, width: int) -> Widths:
        cond = self.how.embedding[0] + self.how.feature + 1 if self.how.condition == "position" else self.channels + 1
        return Widths(width, cond, self.how.embedding[2])

    def encode(self, clean_BLC: Tensor) -> Tensor:
        return self.codes.to(clean_BLC.device)[clean_BLC[..., 0]]

    def loss(self, denoise: Denoise, clean_BLC: Tensor, known_BL: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error in the gap, at a uniformly drawn time (Ho et al. 2020, eq. 14)."""
        x0 = self.encode(clean_BLC)
        known = known_BL[..., None]
        t_B = torch.randint(len(self.alpha_bar), (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0.device)
        a = self.alpha_bar[t_B].to(x0.device, x0.dtype)[:, None, None]
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
        held = x0 if self.how.consistent else (a.sqrt() + (1 - a).sqrt()) * x0
        given = x0.masked_fill(~known, 0)
        predicted = denoise(torch.cat([torch.where(known, held, x_t), given], dim=-1), known_BL, t_B.to(x0.device))
        target = {"noise": noise, "clean": x0, "v": a.sqrt() * noise - (1 - a).sqrt() * x0}[self.how.predict]
        return functional.mse_loss(predicted.float()[~known_BL], target[~known_BL])

    def start(self, given_BLC: Tensor, known_BL: Tensor, noise: Noise | None) -> Noisy:
        """Raises ValueError without noise: the chain begins in nothing else."""
        if noise is None:
            raise ValueError("a Gaussian chain needs noise to begin with")
        return Noisy(noise.normal(given_BLC))

    def times(self, steps: int, known_BL: Tensor) -> Sequence[float]:
        """From the last time evenly down to -1, the data: the last is always among them (Lin et al. 2024, table 2)."""
        T = len(self.alpha_bar)
        return [round(T - 1 - k * T / min(steps, T)) for k in range(min(steps, T))] + [-1]

    def clean(self, x: Tensor, predicted: Tensor, t: float) -> Tensor:
        """The predicted clean values (Salimans and Ho 2022, section 4 and appendix D, for v)."""
        alpha, sigma = self._levels(t)
        if self.how.predict == "noise":
            result = (x - sigma * predicted) / alpha
        else:
            result = predicted if self.how.predict == "clean" else alpha * x - sigma * predicted
        if not self.how.clip:
            return result
        return result.clamp(float(self.codes.min()), float(self.codes.max()))

    def _levels(self, t: float) -> tuple[float, float]:
        """Signal and noise at time t."""
        a = float(self.alpha_bar[int(t)]) if t >= 0 else 1.0
        return a**0.5, (1 - a) ** 0.5

    def step(
        self,
        denoise: Denoise,
        state: Noisy,
        given_BLC: Tensor,
        known_BL: Tensor,
        t: float,
        s: float,
        noise: Noise | None,
    ) -> Noisy:
        x = state.values_BLC
        given = given_BLC.masked_fill(~known_BL[..., None], 0)
        predicted = denoise(torch.cat([x, given], dim=-1), known_BL, torch.full((len(x),), t, device=x.device))
        x0 = self.clean(x, predicted.float(), t)
        alpha_t, sigma_t = self._levels(t)
        alpha_s, sigma_s = self._levels(s)
        if self.how.sampler == "ddpm":
            return Noisy(self._ancestral(x, x0, t, s, noise), x0)
        ratio = _log_ratio(alpha_s, sigma_s)
        if self.how.sampler == "dpm++" and state.clean_BLC is not None and sigma_s > 0:
            # Lu et al., "DPM-Solver++" (2022), algorithm 2 (2M); of first order are the first and last step and
            # the one after pure noise, whose step in log signal-to-noise was infinite
            now = _log_ratio(alpha_t, sigma_t)
            h, before = ratio - now, now - state.ratio
            aim = x0 + h / (2 * before) * (x0 - state.clean_BLC)
            x = (sigma_s / sigma_t) * x + (alpha_s - sigma_s * alpha_t / sigma_t) * aim
        else:
            # Song et al., "Denoising Diffusion Implicit Models" (2021), eq. 12 without noise
            x = alpha_s * x0 + sigma_s * (x - alpha_t * x0) / max(sigma_t, 1e-12)
        return Noisy(x, x0, _log_ratio(alpha_t, sigma_t))

    def _ancestral(self, x: Tensor, x0: Tensor, t: float, s: float, noise: Noise | None) -> Tensor:
        """A draw from q(x_s | x_t, x_0) (Ho et al. 2020, eq. 6 and 7), for any s < t."""
        a_t, a_s = float(self.alpha_bar[int(t)]), float(self.alpha_bar[int(s)]) if s >= 0 else 1.0
        kept = a_t / a_s
        mean: Tensor = (a_s**0.5 * (1 - kept) * x0 + kept**0.5 * (1 - a_s) * x) / (1 - a_t)
        if s < 0 or noise is None:
            return mean
        spread: float = ((1 - kept) * (1 - a_s) / (1 - a_t)) ** 0.5
        return mean + spread * noise.normal(x)

    def beliefs(self, state: Noisy) -> list[Tensor]:
        return [nearest(state.values_BLC, self.codes.to(state.values_BLC.device))]


def _log_ratio(alpha: float, sigma: float) -> float:
    """log(alpha / sigma), infinite at the ends."""
    return float(torch.tensor(alpha / sigma).log()) if sigma > 0 else float("inf")


class ValueStem(nn.Module):
    """Noisy values through a convolution and a ReLU; conditioning: known values (0 in the gap) and the mask."""

    def __init__(self, channels: int, width: int, normed: bool) -> None:
        super().__init__()
        self.inner = convolution(channels, width, normed=normed)

    def forward(self, values_BLC: Tensor, known_BL: Tensor) -> tuple[Tensor, Tensor]:
        x, given = values_BLC.transpose(1, 2).chunk(2, dim=1)
        return functional.relu(self.inner(x)), torch.cat([given, known_BL[:, None].to(given.dtype)], dim=1)


class PositionStem(nn.Module):
    """CSDI: known and noisy values side by side; conditioning: embedded position, embedded feature, and the mask.

    Tashiro et al. (2021), eq. 13 and section 4.3.
    """

    def __init__(self, channels: int, width: int, position: int, feature: int) -> None:
        super().__init__()
        self.position = position
        self.inner = convolution(2 * channels, width, normed=False)
        self.feature = nn.Parameter(torch.randn(feature))

    def forward(self, values_BLC: Tensor, known_BL: Tensor) -> tuple[Tensor, Tensor]:
        x, given = values_BLC.transpose(1, 2).chunk(2, dim=1)
        B, _, L = x.shape
        known = known_BL[:, None].to(x.dtype)
        n = torch.arange(0, self.position, 2, device=x.device)
        angle = torch.arange(L, device=x.device) * 10_000 ** (-n / self.position)[:, None]
        where = torch.stack([angle.sin(), angle.cos()], dim=1).reshape(self.position, L)
        side = torch.cat([where, self.feature[:, None].expand(-1, L)])[None].expand(B, -1, -1)
        inner = functional.relu(self.inner(torch.cat([given, x * (1 - known)], dim=1)))
        return inner, torch.cat([side.to(x.dtype), known], dim=1)


class Head(nn.Module):
    """x_BHL -> predicted_BLC; starts at zero, as in DiffWave."""

    def __init__(self, channels: int, width: int, normed: bool) -> None:
        super().__init__()
        self.inner = convolution(width, width, normed=normed)
        self.outer = nn.Conv1d(width, channels, 1)
        nn.init.zeros_(self.outer.weight)
        if self.outer.bias is not None:
            nn.init.zeros_(self.outer.bias)

    def forward(self, x_BHL: Tensor) -> Tensor:
        result: Tensor = self.outer(functional.relu(self.inner(x_BHL))).transpose(1, 2)
        return result
