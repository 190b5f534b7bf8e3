"""Released SD-VLM checkpoints (LLaVA's own layout, Depth Anything V2 inside) in stock transformers classes."""

from sdvlm.models.official.convert import ImportReport, import_official
from sdvlm.models.official.layout import is_official
from sdvlm.models.official.load import load_official, load_official_depth
from sdvlm.models.official.processor import official_processor

__all__ = [
    "ImportReport",
    "import_official",
    "is_official",
    "load_official",
    "load_official_depth",
    "official_processor",
]
