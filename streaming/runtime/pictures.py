"""Reads pictures from files, as the arrays that a model takes."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError, StreamingError

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# Pillow's names of pixels with 8 bits a channel or fewer.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_WHITE = 255.0


def on_white(array: NDArray[Any]) -> NDArray[Any]:
    """Pixels (H, W, 4) of red, green, blue and opacity, 0 to 255, put on white: (H, W, 3) of float32."""
    colours, opacity = array[..., :3].astype(np.float32), array[..., 3:].astype(np.float32) / _WHITE
    return colours * opacity + _WHITE * (1 - opacity)


def is_picture(data: bytes) -> bool:
    """Whether the content begins like a PNG or JPEG file."""
    return data.startswith(_SIGNATURES)


def read_picture(
    source: str | os.PathLike[str] | bytes, shape: tuple[int, ...] | None, resize: bool = False
) -> NDArray[Any]:
    """The pixels of a PNG or JPEG file, 0 to 255, on white where it is transparent.

    Args:
        source: path of the file, or its bytes.
        shape: (height, width, 3) of the model; None: of the picture.
        resize: bring a picture of another size to this one; otherwise it is refused.

    Returns:
        (height, width, 3) of float32.

    Raises:
        InputError: the file is damaged, no picture, of more than 8 bits a channel or of another size, or the model
            takes no pictures.
        StreamingError: Pillow is not installed.
        OSError: the file cannot be read.
    """
    data, name = (source, "the picture") if isinstance(source, bytes) else (Path(source).read_bytes(), str(source))
    if shape is not None and (len(shape) != 3 or shape[-1] != 3):
        raise InputError(
            f"the model takes arrays of shape {tuple(shape)}, no pictures in colour; give it such an array"
        )
    if not is_picture(data):
        raise InputError(f"{name} is neither PNG nor JPEG; convert it to one of them")
    pixels = np.asarray(_decode(data, name, None if shape is None else (shape[1], shape[0]), resize))
    return on_white(pixels) if pixels.shape[-1] == 4 else pixels.astype(np.float32)


def _decode(data: bytes, name: str, size: tuple[int, int] | None, resize: bool) -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise StreamingError("reading PNG and JPEG needs Pillow: pip install 'rnnzoo[pictures]'") from None
    try:
        with warnings.catch_warnings():
            # Of a picture so large that it may be an attack.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Any = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            # The size is known before the pixels are: a wrong one costs nothing.
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            actual = image.size[::-1] if turned else image.size
            size = actual if size is None else size
            if actual != size and not resize:
                raise InputError(
                    f"{name} has {actual[0]} x {actual[1]} pixels, the model takes {size[0]} x {size[1]}; "
                    "crop it, or allow it to be resized"
                )
            if image.mode not in _MODES:
                raise InputError(f"{name} has pixels of the kind {image.mode}, expected 8 bits a channel; convert it")
            image = ImageOps.exif_transpose(image)
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            return image if actual == size else image.resize(size, Image.Resampling.BILINEAR)
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{name} is too large a picture; make it smaller") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{name} is damaged ({error}); write it anew") from error
