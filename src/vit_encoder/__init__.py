"""The parts of the Vision Transformer's encoder, as the course's chapters build them.

`vit_encoder.figures`, `vit_encoder.data` and `vit_encoder.check` hold what the
notebooks need around the parts; they are imported only where they are used.
"""

from vit_encoder.self_attention import SelfAttention, attention

__all__ = ["SelfAttention", "attention"]
