"""Names of tensors and models as C++ and Markdown take them: what a file calls something becomes no code."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LENGTH = 64
# Words of C++, and names to which the files of a firmware give a meaning of their own.
_RESERVED = frozenset(
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class "
    "compl concept const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype "
    "default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline "
    "int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public "
    "register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch "
    "template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile "
    "wchar_t while xor xor_eq arena resolver interpreter tflite memcpy memset nearbyintf i g_stream_model "
    "g_stream_model_size kStreamArenaBytes kTfLiteOk uint8_t int8_t int32_t int64_t StreamSetup StreamReset "
    "StreamStep".split()
)
# Those of states, of renamed tensors and, in capitals, of macros.
_TAKEN = re.compile(r"state_\d+(_initial)?|(integers|results)_\d+|tensor_.*|[A-Z][A-Z0-9_]+")


def identifiers(names: Sequence[str]) -> list[str]:
    """Of each name one that C++ takes, all different: itself where it is one that the files do not use otherwise."""
    plain_names: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_LENGTH]
        if not plain or not plain[0].isalpha() or plain in _RESERVED or _TAKEN.fullmatch(plain) or "__" in plain:
            plain = f"tensor_{re.sub('_+', '_', plain).strip('_')}"
        while plain in plain_names:
            plain += "x"
        plain_names.append(plain)
    return plain_names


def one_line(text: object) -> str:
    """A name as it may stand in a comment of C++ and in Markdown."""
    return re.sub(r"[^\w .,:()+-]", "_", str(text), flags=re.ASCII)[:_LENGTH].strip()
