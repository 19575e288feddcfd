"""State space layers: long convolutions whose kernels come from a linear recurrence.

Axis legend: B batch, H width, L length, N conjugate pairs of the state (half its size), D directions (forward,
backward), R rows of the low-rank products, F frequencies.

Complex parameters are stored as real pairs on a last axis of 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from tracemend.diffusion.backbones.held import Held


def hippo(state: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegS as normal plus low rank: eigenvalues w_N, correction P_N and input B_N in the eigenbasis (complex128).

    Gu et al., "HiPPO" (2020), theorem 2, and "Efficiently Modeling Long Sequences with Structured State Spaces" (2022),
    appendix C.1: A + P P^T with P_n = sqrt(n + 1/2) is skew-symmetric minus one half of the identity.
    """
    n = torch.arange(state, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    A = -(torch.tril(root[:, None] * root[None, :], -1) + torch.diag(n + 1))
    P = (n + 0.5).sqrt()
    skew = A + P[:, None] * P[None, :] + 0.5 * torch.eye(state, dtype=torch.float64)
    imaginary, V = torch.linalg.eigh(skew * -1j)  # hermitian, hence stable; eigenvalues come in pairs +-
    keep = torch.arange(state - 1, state // 2 - 1, -1)
    V = V[:, keep]
    to = V.conj().T
    w = torch.complex(torch.full((len(keep),), -0.5, dtype=torch.float64), imaginary[keep])
    return w, to @ P.to(to), to @ root.to(to)


def _pairs(x: Tensor) -> Tensor:
    return torch.view_as_real(x.resolve_conj()).float().contiguous()


class Kernel(nn.Module):
    """A kernel for each channel and direction: ``forward(length)`` -> (D, H, length).

    Its parameters don't bear half precision: a small error of a frequency is a large one 200 events later.
    """

    log_dt: Tensor
    C: Tensor

    def forward(self, length: int) -> Tensor:
        raise NotImplementedError


class DPLR(Kernel):
    """The S4 kernel: diagonal plus low rank, K_l = C A^l B after the bilinear discretisation with step exp(log_dt).

    Gu et al. (2022), algorithm 1. The stored C is C (I - A^length), so that the kernel's generating function, taken at
    the roots of unity of ``length``, needs no powers of A. Longer kernels are reached by doubling, C (I + A^length).

    Near omega = -1 the usual form divides by 1 + omega. Here every Cauchy sum is multiplied through by it: with
    g = (1 + omega) / 2 and h = 1 - omega, 1 / (z - w) * 2 / (1 + omega) = 1 / (h - w g). For omega = exp(-i theta),
    s = sin(theta / 2) and c = cos(theta / 2) a conjugate pair gives exp(i theta / 2) times
    (4 i s Re(v) - 2 c Re(v conj(w))) / (|w|^2 c^2 - 4 s^2 - 4 i Re(w) c s): finite everywhere, and a real matrix
    product for all rows v at once.
    """

    w: Tensor
    P: Tensor
    Q: Tensor
    B: Tensor

    def __init__(
        self,
        width: int,
        *,
        state: int = 64,
        length: int = 200,
        inverse: int | None = None,
        directions: int = 2,
        trainable: bool = False,
        dt: tuple[float, float] = (0.001, 0.1),
    ) -> None:
        """trainable: learn A, B, P and the step too, not just C. inverse: length of the inverse transform, where it
        isn't ``length``: the public CSDI-S4 takes 251 roots of unity and goes back as if they were 250. Raises
        ValueError for an odd length (or inverse) or state."""
        super().__init__()
        self.length, self.inverse = length, inverse or length
        if length < 2 or self.inverse % 2 or self.inverse not in {length, length - 1} or state % 2:
            raise ValueError(f"length {inverse or length} and state {state} must be even")
        w, P, B = hippo(state)
        low, high = math.log(dt[0]), math.log(dt[1])
        values = {
            "log_dt": torch.rand(width) * (high - low) + low,
            "w": _pairs(w).expand(width, -1, -1),
            "P": _pairs(P).expand(width, -1, -1),
            "Q": _pairs(P.conj()).expand(width, -1, -1),
            "B": _pairs(B).expand(width, -1, -1),
        }
        for name, value in values.items():
            if trainable:
                self.register_parameter(name, nn.Parameter(value.contiguous()))
            else:
                self.register_buffer(name, value.contiguous())
        self.C = nn.Parameter(torch.randn(directions, width, state // 2, 2) * 0.5**0.5)
        with torch.no_grad():
            A, _ = self.discrete()
            C = _doubled(self.C.double())
            power = torch.linalg.matrix_power(A, length)
            self.C.copy_(_pairs((C - torch.einsum("dhm,hmn->dhn", C, power))[..., : state // 2]))

    def discrete(self) -> tuple[Tensor, Tensor]:
        """The recurrence itself, dense: A (H, 2N, 2N) and B (H, 2N), complex128 (Gu et al. 2022, eq. 3)."""
        w, P, Q, B = (_doubled(x.double()) for x in (self.w, self.P, self.Q, self.B))
        dt = self.log_dt.double().exp()[:, None, None]
        A = torch.diag_embed(w) - P[:, :, None] * Q[:, None, :]
        one = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        both = torch.linalg.solve(one - dt / 2 * A, torch.cat([one + dt / 2 * A, dt * B[..., None]], dim=-1))
        return both[..., :-1], both[..., -1]

    def forward(self, length: int) -> Tensor:
        C, reach = self.C, self.length
        if length > self.inverse:
            power = torch.linalg.matrix_power(self.discrete()[0], reach)
            grown = _doubled(C.double())
            while reach == self.length or reach < length:
                grown = grown + torch.einsum("dhm,hmn->dhn", grown, power)
                power, reach = power @ power, 2 * reach
            C = torch.view_as_real(grown[..., : C.shape[2]]).to(C.dtype)
        return self._kernel(C, reach)[..., :length]

    def _kernel(self, C: Tensor, reach: int) -> Tensor:
        theta = torch.arange(reach // 2 + 1, dtype=C.dtype, device=C.device) * (2 * math.pi / reach)
        s_F, c_F = (theta / 2).sin(), (theta / 2).cos()
        dt_H = self.log_dt.exp()
        w = self.w * dt_H[:, None, None]
        real, imaginary = w[..., 0, None], w[..., 1, None]  # (H, N, 1)
        a = (real.square() + imaginary.square()) * c_F.square() - 4 * s_F.square()
        b = 4 * real * (c_F * s_F)
        inverse_HN2F = torch.cat([a, b], dim=-1) / (a.square() + b.square()).repeat(1, 1, 2)
        # rows v: B C (each direction), B Q, P C (each direction), P Q
        outer = torch.cat([C, self.Q[None]])
        v = torch.cat([_times(self.B, outer), _times(self.P, outer)])  # (R, H, N, 2)
        rows = torch.stack([v[..., 0], v[..., 0] * w[..., 0] + v[..., 1] * w[..., 1]])  # Re v, Re(v conj(w))
        sums = torch.einsum("krhn,hnf->krhf", rows, inverse_HN2F)
        F = len(theta)
        re, im = sums[..., :F], sums[..., F:]
        # exp(i theta / 2) (4 i s S0 - 2 c S1), times the step
        half = torch.complex(c_F, s_F)
        x = torch.complex(-4 * s_F * im[0] - 2 * c_F * re[1], 4 * s_F * re[0] - 2 * c_F * im[1]) * dt_H[:, None] * half
        d = C.shape[0]
        BC, BQ, PC, PQ = x[:d], x[d], x[d + 1 : 2 * d + 1], x[-1]
        g = torch.complex(c_F * c_F, -c_F * s_F)  # (1 + omega) / 2
        result: Tensor = torch.fft.irfft(
            BC - BQ * PC * g / (1 + PQ * g), n=self.inverse if reach == self.length else reach
        )
        return result


class Diagonal(Kernel):
    """S4D: the diagonal kernel with zero-order hold and the S4D-Lin initialisation, for any length.

    Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models" (2022), eq. 6 and 9; the real
    part of A is kept negative by an exponential.
    """

    def __init__(
        self, width: int, *, state: int = 64, directions: int = 2, dt: tuple[float, float] = (0.001, 0.1)
    ) -> None:
        super().__init__()
        if state % 2:
            raise ValueError(f"state {state} must be even")
        N = state // 2
        low, high = math.log(dt[0]), math.log(dt[1])
        self.log_dt = nn.Parameter(torch.rand(width) * (high - low) + low)
        self.log_decay = nn.Parameter(torch.full((width, N), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(N, dtype=torch.float32)).repeat(width, 1))
        self.C = nn.Parameter(torch.randn(directions, width, N, 2) * 0.5**0.5)

    def forward(self, length: int) -> Tensor:
        A = torch.complex(-self.log_decay.exp(), self.frequency)
        step = A * self.log_dt.exp()[:, None]
        C = torch.view_as_complex(self.C) * (step.exp() - 1) / A
        powers = torch.exp(step[..., None] * torch.arange(length, device=A.device))
        result: Tensor = 2 * torch.einsum("dhn,hnl->dhl", C, powers).real
        return result


KERNELS: dict[str, Callable[..., Kernel]] = {"dplr": DPLR, "diagonal": Diagonal}


def _doubled(x: Tensor) -> Tensor:
    """Real pairs (..., N, 2) as complex numbers (..., 2N) with their conjugates behind them."""
    z = torch.view_as_complex(x.contiguous())
    return torch.cat([z, z.conj()], dim=-1)


def _times(x: Tensor, y: Tensor) -> Tensor:
    """Product of complex numbers in real pairs."""
    return torch.stack(
        [x[..., 0] * y[..., 0] - x[..., 1] * y[..., 1], x[..., 0] * y[..., 1] + x[..., 1] * y[..., 0]], -1
    )


class Convolution(torch.autograd.Function):
    """x_BHL and the spectrum_HF (F = L + 1) of a two-sided kernel -> _BHL.

    The gradients by hand: what automatic differentiation makes of a real transform works on complex numbers of twice
    the length, at twice the time of the whole forward pass.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x_BHL: Tensor, spectrum_HF: Tensor) -> Tensor:
        L = x_BHL.shape[-1]
        transform = torch.fft.rfft(x_BHL, n=2 * L)
        ctx.save_for_backward(transform, spectrum_HF)
        result: Tensor = torch.fft.irfft(transform * spectrum_HF, n=2 * L)[..., :L]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHL: Tensor) -> tuple[Tensor | None, Tensor | None]:
        transform, spectrum_HF = ctx.saved_tensors
        L = grad_BHL.shape[-1]
        back = torch.fft.rfft(grad_BHL, n=2 * L)
        to_x = torch.fft.irfft(back * spectrum_HF.conj(), n=2 * L)[..., :L] if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_x, None
        to_spectrum = (transform.conj() * back).sum(0) / L
        to_spectrum[:, [0, -1]] /= 2  # the inverse transform counts the inner frequencies twice
        return to_x, to_spectrum


class StateSpace(Held):
    """Convolution with a state space kernel in both directions, skip, GELU and a map of the channels: x_BHL -> _BHL.

    gated: the map is a gated linear unit (as in SaShiMi).
    """

    def __init__(
        self,
        width: int,
        *,
        kernel: str = "dplr",
        gated: bool = False,
        **options: Any,
    ) -> None:
        """options: the kernel's. Raises ValueError for a kernel that isn't known."""
        super().__init__()
        if kernel not in KERNELS:
            raise ValueError(f"unknown kernel {kernel!r}; one of {', '.join(KERNELS)}")
        self.kernel: Kernel = KERNELS[kernel](width, **options)
        self.D = nn.Parameter(torch.randn(width))
        self.out = nn.Conv1d(width, 2 * width if gated else width, 1)
        self.gated = gated
        self.held: dict[int, Tensor] | None = None

    def spectrum(self, length: int) -> Tensor:
        """The transform (H, length + 1) of the two-sided kernel, the skip included.

        Within ``held.chain`` it is computed once a length: it doesn't depend on the diffusion step.
        """
        if self.held is not None and length in self.held:
            return self.held[length]
        with torch.autocast(self.D.device.type, enabled=False):
            forward, backward = self.kernel(length)
            forward = torch.cat([forward[:, :1] + self.D[:, None], forward[:, 1:]], dim=1)
            result: Tensor = torch.fft.rfft(torch.cat([forward, backward.flip(-1)], dim=-1))
        if self.held is not None:
            self.held[length] = result
        return result

    def forward(self, x_BHL: Tensor) -> Tensor:
        L = x_BHL.shape[-1]
        y: Tensor = Convolution.apply(x_BHL.to(self.D.dtype), self.spectrum(L))  # type: ignore[no-untyped-call]
        y = y.to(x_BHL.dtype)
        y = self.out(functional.gelu(y))
        return functional.glu(y, dim=1) if self.gated else y


class Mixed(nn.Module):
    """A mixer with its skip, then layer norm over the channels: x_BHL -> _BHL."""

    def __init__(self, mixer: nn.Module, width: int) -> None:
        super().__init__()
        self.mixer, self.norm = mixer, nn.LayerNorm(width)

    def forward(self, x_BHL: Tensor) -> Tensor:
        result: Tensor = self.norm((self.mixer(x_BHL) + x_BHL).transpose(1, 2)).transpose(1, 2)
        return result
