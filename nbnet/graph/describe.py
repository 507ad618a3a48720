"""A plan as a table that people can read."""

from __future__ import annotations

from nbnet.graph.plan import Plan

__all__ = ["describe"]


def describe(plan: Plan) -> str:
    """Ops, parameters and buffers of a plan, with names, shapes and offsets."""
    name = [variable.name for variable in plan.variables]
    n = plan.parameters[-1].place.stop if plan.parameters else 0
    lines = [
        f"Plan for {plan.dtype}, {plan.rows} rows, panels of {plan.lanes} columns; P = {n}",
        "",
        "ops",
    ]
    for k, step in enumerate(plan.instructions):
        sources = ", ".join(name[i] for i in step.inputs)
        lines.append(f"  {k:3d} {step.kind:12s} {sources} -> {name[step.out]}")
    lines += ["", "parameters (natural offset, engine offset, group)"]
    for parameter, place in zip(plan.parameters, plan.places, strict=True):
        lines.append(
            f"  {parameter.name:24s} {parameter.shape!s:16s} {parameter.start:10d} {place.at:10d}"
            f"  {parameter.group}"
        )
    lines += ["", "buffers (offset of value, of gradient; -1: none)"]
    for variable in plan.variables:
        shape = f"({plan.rows}, {variable.width})"
        lines.append(f"  {variable.name:24s} {shape:16s} {variable.value:10d} {variable.delta:10d}")
    return "\n".join(lines)
