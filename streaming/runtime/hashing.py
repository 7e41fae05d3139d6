"""Hashes of strings, as Keras's `Hashing` and `StringLookup` take them, in plain Python.

`fingerprint64` is FarmHash's Fingerprint64 (github.com/google/farmhash), `siphash24` SipHash-2-4 of Aumasson and
Bernstein (2012). Both are unsigned numbers of 64 bits.
"""

from __future__ import annotations

_MASK = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def fingerprint64(text: bytes) -> int:
    """FarmHash's Fingerprint64 of a string."""
    if len(text) <= 16:
        return _up_to_16(text)
    if len(text) <= 32:
        return _up_to_32(text)
    return _up_to_64(text) if len(text) <= 64 else _longer(text)


def siphash24(text: bytes, key: tuple[int, int]) -> int:
    """SipHash-2-4 of a string, with a key of two numbers of 64 bits."""
    k0, k1 = key[0] & _MASK, key[1] & _MASK
    state = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(text) // 8 * 8
    words = [_word(text, place) for place in range(0, whole, 8)]
    words.append(int.from_bytes(text[whole:], "little") | (len(text) & 255) << 56)
    for word in words:
        state[3] ^= word
        _sip_rounds(state, 2)
        state[0] ^= word
    state[2] ^= 255
    _sip_rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip_rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a = (a + b) & _MASK
        c = (c + d) & _MASK
        b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
        a = (_left(a, 32) + d) & _MASK
        c = (c + b) & _MASK
        b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
        c = _left(c, 32)
    state[:] = a, b, c, d


def _left(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _right(value: int, bits: int) -> int:
    value &= _MASK
    return (value >> bits | value << (64 - bits)) & _MASK


def _word(text: bytes, place: int, size: int = 8) -> int:
    return int.from_bytes(text[place : place + size], "little")


def _mixed(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _pair(u: int, v: int, factor: int) -> int:
    a = _mixed(((u ^ v) & _MASK) * factor)
    b = _mixed(((v ^ a) & _MASK) * factor)
    return b * factor & _MASK


def _up_to_16(text: bytes) -> int:
    size = len(text)
    factor = _K2 + 2 * size
    if size >= 8:
        a, b = _word(text, 0) + _K2, _word(text, size - 8)
        return _pair(_right(b, 37) * factor + a, (_right(a, 25) + b) * factor, factor)
    if size >= 4:
        return _pair(size + (_word(text, 0, 4) << 3), _word(text, size - 4, 4), factor)
    if size:
        y, z = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return _mixed(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _halves(text: bytes, k: int) -> tuple[int, int, int]:
    """What strings of 17 to 64 bytes have in common: two sums, and the factor."""
    size = len(text)
    factor = _K2 + 2 * size
    a, b = _word(text, 0) * k, _word(text, 8)
    c, d = _word(text, size - 8) * factor, _word(text, size - 16) * _K2
    return _right(a + b, 43) + _right(c, 30) + d, a + _right(b + _K2, 18) + c, factor


def _up_to_32(text: bytes) -> int:
    return _pair(*_halves(text, _K1))


def _up_to_64(text: bytes) -> int:
    y, z, factor = _halves(text, _K2)
    size, a = len(text), _word(text, 0) * _K2
    z = _pair(y, z, factor)
    e, f = _word(text, 16) * factor, _word(text, 24)
    g, h = (y + _word(text, size - 32)) * factor, (z + _word(text, size - 24)) * factor
    return _pair(_right(e + f, 43) + _right(g, 30) + h, e + _right(f + a, 18) + g, factor)


def _weak(text: bytes, place: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(text, place + offset) for offset in (0, 8, 16, 24))
    a = a + w & _MASK
    b, c = _right(b + a + z, 21), a
    a = a + x + y & _MASK
    return a + z & _MASK, b + _right(a, 44) + c & _MASK


def _longer(text: bytes) -> int:
    """Strings of more than 64 bytes: blocks of 64, the last of which ends with the string."""
    y, z = 81 * _K1 + 113 & _MASK, _mixed((81 * _K1 + 113) * _K2 + 113) * _K2 & _MASK
    x, v, w = 81 * _K2 + _word(text, 0) & _MASK, (0, 0), (0, 0)
    last = (len(text) - 1) // 64 * 64
    for place in range(0, last, 64):
        x, y, z, v, w = _block(text, place, (x, y, z), v, w, (_K1, 1))
    rest = (len(text) - 1) & 63
    factor = _K1 + ((z & 255) << 1)
    first = w[0] + rest
    v = (v[0] + first & _MASK, v[1])
    w = (first + v[0] & _MASK, w[1])
    x, y, z, v, w = _block(text, last + rest - 63, (x, y, z), v, w, (factor, 9))
    return _pair(_pair(v[0], w[0], factor) + _mixed(y) * _K0 + z, _pair(v[1], w[1], factor) + x, factor)


def _block(
    text: bytes, place: int, xyz: tuple[int, int, int], v: tuple[int, int], w: tuple[int, int], by: tuple[int, int]
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    """Mix 64 bytes in; by: the factor of the sums, and that of the carried halves."""
    x, y, z = xyz
    factor, times = by
    x = _right(x + y + v[0] + _word(text, place + 8), 37) * factor & _MASK
    y = _right(y + v[1] + _word(text, place + 48), 42) * factor & _MASK
    x ^= w[1] * times & _MASK
    y = y + v[0] * times + _word(text, place + 40) & _MASK
    z = _right(z + w[0], 33) * factor & _MASK
    v = _weak(text, place, v[1] * factor, x + w[0])
    w = _weak(text, place + 32, z + w[1], y + _word(text, place + 16))
    return z, y, x, v, w
