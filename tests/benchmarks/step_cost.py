"""What the largest step of each recipe takes; nothing is computed.

``python tests/benchmarks/step_cost.py``
"""

from __future__ import annotations

from aasp_features.train.pretrain.step_cost import step_cost
from aasp_features.train.recipes import load_recipe

SETTINGS: tuple[list[str], ...] = ([], ["run.checkpointing=true"], ["masking.query_fraction=1"])


def main() -> None:
    print("| recipe | setting | parameters | memory, float32 | bfloat16 | GFLOP a crop | TFLOP a step |")
    print("|---|---|---|---|---|---|---|")
    for recipe in ("tiny_cpu", "tiny_gpu", "small", "base", "base_audioset"):
        for settings in SETTINGS:
            chosen = load_recipe(recipe, settings)
            cost, low = step_cost(chosen, "float32"), step_cost(chosen, "bfloat16")
            memory = f"{cost.peak / 1e9:.1f} GB | {low.peak / 1e9:.1f} GB"
            arithmetic = f"{cost.flop / 1e9:,.1f} | {cost.flop * cost.crops * cost.parts / 1e12:.1f}"
            print(f"| {recipe} | {' '.join(settings)} | {cost.parameters / 1e6:.1f} M | {memory} | {arithmetic} |")


if __name__ == "__main__":
    main()
