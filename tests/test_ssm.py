"""State space kernels and scans against the plain recurrence, and the convolution against the definition."""

from __future__ import annotations

import pytest
import torch

from tracemend.diffusion.backbones.held import chain
from tracemend.diffusion.backbones.selective import scan
from tracemend.diffusion.backbones.ssm import DPLR, KERNELS, Convolution, Diagonal, Kernel, StateSpace, hippo


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("length", [1, 7, 64, 65, 200])
def test_the_dplr_kernel_is_the_recurrence(length: int, trainable: bool) -> None:
    """x_k = A x_(k-1) + B u_k, y = C x in double precision; also beyond the length that the kernel was made for."""
    torch.manual_seed(0)
    kernel = DPLR(4, state=16, length=64, trainable=trainable).double()
    with torch.no_grad():  # away from the initialisation, where Q is the conjugate of P
        for value in (kernel.P, kernel.Q, kernel.B, kernel.w):
            value.add_(torch.randn_like(value), alpha=0.05)
    A, x = kernel.discrete()
    C = torch.view_as_complex(kernel.C.detach().contiguous())
    C = torch.cat([C, C.conj()], dim=-1)
    whole = torch.eye(16, dtype=A.dtype) - torch.linalg.matrix_power(A, 64)
    C = torch.linalg.solve(whole.transpose(-1, -2), C.unsqueeze(-1)).squeeze(-1)
    expected = []
    for _ in range(length):
        expected.append(torch.einsum("dhn,hn->dh", C, x).real)
        x = torch.einsum("hmn,hn->hm", A, x)
    torch.testing.assert_close(kernel(length), torch.stack(expected, dim=-1), atol=1e-10, rtol=0)


@pytest.mark.parametrize("length", [1, 7, 200])
def test_the_diagonal_kernel_is_the_recurrence(length: int) -> None:
    torch.manual_seed(0)
    kernel = Diagonal(4, state=16).double()
    A = torch.complex(-kernel.log_decay.exp(), kernel.frequency)
    step = A * kernel.log_dt.exp()[:, None]
    x, C = (step.exp() - 1) / A, torch.view_as_complex(kernel.C)
    expected = []
    for _ in range(length):
        expected.append(2 * (C * x).sum(-1).real)
        x = step.exp() * x
    torch.testing.assert_close(kernel(length), torch.stack(expected, dim=-1), atol=1e-10, rtol=0)


def test_hippo_is_normal_plus_low_rank() -> None:
    """The same system as the matrix itself (Gu et al. 2022, eq. 2): its response is the same at any frequency."""
    n = torch.arange(16, dtype=torch.float64)
    root = (2 * n + 1).sqrt().to(torch.complex128)
    A = -(torch.tril(root[:, None] * root[None, :], -1) + torch.diag(n + 1))
    w, P, B = (torch.cat([x, x.conj()]) for x in hippo(16))
    split = torch.diag(w) - P[:, None] * P.conj()[None, :]
    one = torch.eye(16, dtype=torch.complex128)
    for s in (0.0, 1.0, 5j, 0.3 + 20j):
        response = B.conj() @ torch.linalg.solve(s * one - split, B)
        torch.testing.assert_close(response, root @ torch.linalg.solve(s * one - A, root), atol=1e-9, rtol=0)


def test_the_two_sided_convolution_by_its_definition() -> None:
    torch.manual_seed(0)
    x, forward, backward = torch.randn(2, 3, 9), torch.randn(3, 9), torch.randn(3, 9)
    spectrum = torch.fft.rfft(torch.cat([forward, backward.flip(-1)], dim=-1))
    y = torch.zeros(2, 3, 9)
    for at in range(9):
        for source in range(9):
            weight = forward[:, at - source] if source <= at else backward[:, source - at - 1]
            y[..., at] += weight * x[..., source]
    torch.testing.assert_close(Convolution.apply(x, spectrum), y, atol=1e-5, rtol=0)  # type: ignore[no-untyped-call]


def test_the_convolutions_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(3, 18, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: Convolution.apply(a, torch.fft.rfft(b)), (x, kernel))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_computed_once_a_chain(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = StateSpace(4, kernel=kernel, state=8)
    calls: list[int] = []
    plain = type(layer.kernel).forward

    def counted(self: Kernel, length: int) -> torch.Tensor:
        calls.append(length)
        return plain(self, length)

    monkeypatch.setattr(type(layer.kernel), "forward", counted)
    x = torch.randn(2, 4, 20)
    once = layer(x)
    with chain(layer), torch.inference_mode():
        for _ in range(3):
            torch.testing.assert_close(layer(x), once)
        layer(x[..., :10])
    assert calls == [20, 20, 10]
    layer(x)
    assert calls == [20, 20, 10, 20], "after the chain the weights may have changed"


def test_options_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="length 7 and state 16 must be even"):
        DPLR(4, state=16, length=7)
    with pytest.raises(ValueError, match="state 5 must be even"):
        Diagonal(4, state=5)
    with pytest.raises(ValueError, match="'s5'; one of dplr, diagonal"):
        StateSpace(4, kernel="s5")


@pytest.mark.parametrize("chunk", [1, 8, 64])
@pytest.mark.parametrize("length", [1, 8, 50])
def test_the_scan_in_chunks_is_the_recurrence(length: int, chunk: int) -> None:
    torch.manual_seed(0)
    q, k = (torch.randn(2, 3, length, 4, dtype=torch.float64) for _ in range(2))
    v = torch.randn(2, 3, length, 5, dtype=torch.float64)
    steps = torch.rand(2, 2, 3, length, dtype=torch.float64)
    expected = torch.zeros(2, 3, length, 5, dtype=torch.float64)
    for way, (d, order) in enumerate(zip(steps, (range(length), reversed(range(length))), strict=True)):
        state = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
        for i in order:
            kept = state * (-d[..., i, None, None]).exp()
            state = kept + d[..., i, None, None] * k[..., i, :, None] * v[..., i, None, :]
            seen = kept if way else state  # to the left only what comes from behind
            expected[..., i, :] += (q[..., i, :, None] * seen).sum(-2)
    torch.testing.assert_close(scan(q, k, v, steps, chunk=chunk), expected, atol=1e-12, rtol=0)


def test_a_scan_far_from_its_events_stays_finite() -> None:
    """Decays multiply up to nothing over thousands of events; their quotients must not be taken of it."""
    v = torch.randn(1, 1, 5000, 2, requires_grad=True)
    steps = torch.full((2, 1, 1, 5000), 3.0, requires_grad=True)
    y = scan(torch.randn(1, 1, 5000, 2), torch.randn(1, 1, 5000, 2), v, steps, chunk=64)
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    assert v.grad is not None
    assert steps.grad is not None
    assert all(x.isfinite().all() for x in (y, v.grad, steps.grad))
