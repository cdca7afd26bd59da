"""A layer's small steps in few passes over memory: RMS norm, gated activation, LoRA product.

Steps between the products read and write whole activations, and each does little. Each
function here does what several of torch's do, keeps less for its backward pass, and writes
gradients where they are wanted. Modules are taken over only where they are built as expected, and
`hieno.train.kernels` holds the whole against the plain model before a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any  # autograd's context and transformers' modules are untyped

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor
from torch.nn.functional import silu


def fuse(model: Any) -> int:
    """Take over the modules of a model that are built as expected; return how many."""
    taken = 0
    for module in model.modules():
        made = _fused_forward(module)
        if made is not None:
            module.forward = made
            taken += 1
    return taken


def unfuse(model: Any) -> None:
    """Give every module its own forward back."""
    for module in model.modules():
        if getattr(module.__dict__.get("forward"), "__module__", "") == __name__:
            del module.forward


def _fused_forward(module: Any) -> Callable[..., Any] | None:
    norm: Any = _RmsNorm.apply
    gated: Any = _Gated.apply
    product: Any = _LoraProduct.apply
    if _is_rms_norm(module):
        return lambda hidden: norm(hidden, module.weight, module.variance_epsilon)
    if _is_gated(module):
        return lambda hidden: module.down_proj(gated(module.gate_up_proj(hidden)))
    if _is_plain_lora(module):
        stock = type(module).forward

        def forward(x: Tensor, *rest: Any, **named: Any) -> Any:
            if module.disable_adapters or module.merged or rest or named:
                return stock(module, x, *rest, **named)
            return product(
                x,
                module.base_layer.weight,
                module.base_layer.bias,
                module.lora_A["default"].weight,
                module.lora_B["default"].weight,
                module.scaling["default"],
            )

        return forward
    return None


def _is_rms_norm(module: Any) -> bool:
    return (
        type(module).__name__.endswith("RMSNorm")
        and set(vars(module)["_parameters"]) == {"weight"}
        and hasattr(module, "variance_epsilon")
    )


def _is_gated(module: Any) -> bool:
    activation = type(getattr(module, "activation_fn", None)).__name__
    return hasattr(module, "gate_up_proj") and activation in ("SiLU", "SiLUActivation")


def _is_plain_lora(module: Any) -> bool:
    if not isinstance(module, LoraLinear) or list(module.lora_A) != ["default"]:
        return False
    return (
        type(module.base_layer) is torch.nn.Linear
        and not module.lora_variant
        and isinstance(module.lora_dropout["default"], torch.nn.Identity)
        and module.lora_B["default"].bias is None
    )


def _compute_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        exact: Tensor = x.float()
        scale = torch.linalg.vecdot(exact, exact).div_(x.shape[-1]).add_(eps).rsqrt_()[..., None]
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = exact * scale
        return normed.mul_(weight).to(_compute_dtype(x))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight, scale = ctx.saved_tensors
        normed = x.float() * scale
        slope = upstream.float()
        d_weight = None
        if ctx.needs_input_grad[1]:
            d_weight = (slope * normed).flatten(0, -2).sum(0).to(weight.dtype)
        slope = slope * weight
        mean = torch.linalg.vecdot(slope, normed).div_(x.shape[-1])[..., None]
        return slope.sub_(normed.mul_(mean)).mul_(scale).to(x.dtype), d_weight, None


class _Gated(torch.autograd.Function):
    """silu(gate) * up for a tensor that holds both side by side."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, -1)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        [both] = ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        slope = torch.empty_like(both)
        d_gate, d_up = slope.chunk(2, -1)
        torch.mul(upstream, silu(gate), out=d_up)
        torch.mul(upstream, up, out=d_gate)
        torch.ops.aten.silu_backward.grad_input(d_gate, gate, grad_input=d_gate)
        return slope


class _LoraProduct(torch.autograd.Function):
    """x W' + b + scaling x A' B', the adapter added by the product itself."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
    ) -> Tensor:
        dtype = _compute_dtype(x)
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        weight, down, up = weight.to(dtype), a.to(dtype), (b * scaling).to(dtype)
        inner = rows @ down.t()
        made = rows @ weight.t()
        if bias is not None:
            made += bias
        made.addmm_(inner, up.t())
        ctx.save_for_backward(rows, weight, down, up, inner)
        ctx.scaling, ctx.shape, ctx.dtype = scaling, x.shape, x.dtype
        return made.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up, inner = ctx.saved_tensors
        slope = upstream.reshape(-1, upstream.shape[-1]).to(rows.dtype)
        d_inner = slope @ up
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (slope @ weight).addmm_(d_inner, down).view(ctx.shape).to(ctx.dtype)
        d_a = (d_inner.t() @ rows).float()
        d_b = (slope.t() @ inner).float().mul_(ctx.scaling)
        return d_x, None, None, d_a, d_b, None
