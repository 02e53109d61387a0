"""Hugging Face `transformers`, imported when an encoder is first needed and never before.

It is an optional dependency (the extra `open`) and takes seconds to import. Where torchvision is installed,
`transformers` imports it for pictures that we never give it, and a torchvision that was built for another torch makes
that import fail; so torchvision is hidden while the classes are fetched.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import WeightsError

EXTRA = "open"


def transformers_class(name: str) -> Any:
    """A class of `transformers`, e.g. "UMT5EncoderModel". Raises WeightsError that names the extra to install."""
    with _hidden("torchvision"):
        return getattr(_required("transformers"), name)


def tokenizers_class(name: str) -> Any:
    """A class of `tokenizers`, which `transformers` brings along. Raises WeightsError like `transformers_class`."""
    return getattr(_required("tokenizers"), name)


def _required(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise WeightsError(
            f"text and image encoders need the package {library} ({error}); pip install 'worldstream[{EXTRA}]'"
        ) from error


@contextmanager
def _hidden(library: str) -> Iterator[None]:
    """While inside, `library` looks as if it were not installed, unless somebody has imported it before."""
    if library in sys.modules:
        yield
        return
    sys.modules[library] = None  # type: ignore[assignment]  # how Python itself spells "not to be found"
    try:
        yield
    finally:
        sys.modules.pop(library, None)
