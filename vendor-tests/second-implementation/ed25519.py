"""Ed25519 by RFC 8032, verified by ZIP 215; plain integers, slow and readable."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)


def x_of(y, sign):
    """The x of that sign for a y, or None if there is no such point. Minus zero is zero."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_MINUS_ONE % P
    if x * x % P != square:
        return None
    return -x % P if x & 1 != sign else x


def decode_point(data):
    number = int.from_bytes(data, "little")
    y = (number & (1 << 255) - 1) % P
    x = x_of(y, number >> 255)
    return None if x is None else (x, y)


def encode_point(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
ZERO = (0, 1)


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return (x % P, y % P)


def times(number, point):
    result = ZERO
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def hash_to_number(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    secret = int.from_bytes(digest[:32], "little")
    return secret & ((1 << 254) - 8) | 1 << 254, digest[32:]


def public_key(seed):
    return encode_point(times(expand(seed)[0], BASE))


def sign(seed, message):
    secret, prefix = expand(seed)
    key = encode_point(times(secret, BASE))
    nonce = hash_to_number(prefix, message)
    first = encode_point(times(nonce, BASE))
    second = (nonce + hash_to_number(first, key, message) * secret) % L
    return first + second.to_bytes(32, "little")


def verify(key, message, signature):
    first, second = signature[:32], int.from_bytes(signature[32:], "little")
    point, agent = decode_point(first), decode_point(key)
    if point is None or agent is None or second >= L:
        return False
    k = hash_to_number(first, key, message)
    return times(8 * second, BASE) == add(times(8, point), times(8 * k, agent))
