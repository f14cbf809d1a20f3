"""Figures of the course: the map of the encoder, plots, and figures that answer.

Each is imported when it is first asked for.
"""

from importlib import import_module

_HOMES = {
    "ActivationExplorer": "activation_explorer",
    "AttentionExplorer": "self_attention",
    "CheckMatrix": "check_matrix",
    "EncoderAtWork": "encoder_at_work",
    "EncoderTour": "encoder_tour",
    "HeadsExplorer": "heads_explorer",
    "NormExplorer": "norm_explorer",
    "PatchExplorer": "patch_explorer",
    "RolloutExplorer": "rollout_explorer",
    "RooflineExplorer": "roofline_explorer",
    "RunsExplorer": "runs_explorer",
    "Table": "table",
    "TokensExplorer": "tokens_explorer",
    "WiringExplorer": "wiring_explorer",
    "attention_drawing": "drawings.attention",
    "block_drawing": "drawings.block",
    "checkpointing_drawing": "drawings.fast",
    "cut_drawing": "drawings.cut",
    "encoder_drawing": "drawings.encoder",
    "encoder_map": "drawings.encoder_map",
    "fashion_at_work": "encoder_at_work",
    "fashion_tour": "encoder_tour",
    "first_difference_drawing": "drawings.first_difference",
    "gates_drawing": "drawings.gates",
    "last_block_drawing": "drawings.fast",
    "layer_norm_drawing": "drawings.layer_norm",
    "lora_drawing": "drawings.lora",
    "mlp_drawing": "drawings.mlp",
    "multi_head_drawing": "drawings.multi_head",
    "norm_axes_drawing": "drawings.norm_axes",
    "norm_places_drawing": "drawings.block",
    "normed_skip_drawing": "drawings.block",
    "one_query_drawing": "drawings.attention",
    "patches_drawing": "drawings.patches",
    "ranks_drawing": "drawings.ranks",
    "reshape_drawing": "drawings.reshape",
    "ring_drawing": "drawings.scaling",
    "rms_norm_drawing": "drawings.rms_norm",
    "rollout_drawing": "drawings.rollout",
    "shards_drawing": "drawings.scaling",
    "show_ablations": "training",
    "show_activations": "activations",
    "show_attention": "photo",
    "show_collapse": "collapse",
    "show_confusion": "training",
    "show_growth": "norms",
    "show_guesses": "training",
    "show_heads": "looking",
    "show_images": "patch_plots",
    "show_lines": "looking",
    "show_maps": "looking",
    "show_parameters": "parameters",
    "show_parts": "patch_plots",
    "show_patch_twice": "photo",
    "show_reads": "heads",
    "show_ring": "scaling",
    "show_shares": "costs",
    "show_similarities": "looking",
    "show_split": "heads",
    "show_spreads": "norms",
    "show_steps": "costs",
    "show_sweep": "training",
    "show_tokens": "photo",
    "tiles_drawing": "drawings.tiles",
    "training_step_drawing": "drawings.training_step",
    "use_style": "style",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    """Find a name in its module, which is imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
