#!/usr/bin/python3
"""A helper for squid that knows one user by NTLM version 2, written from MS-NLMP.

Knows `user` with the password in its argument, in whatever domain. squid keeps one of these for each
connection while that authenticates itself: it asks for a challenge (YR), and then what a proof is
worth (KK).
"""

import base64
import hmac
import os
import struct
import sys
import time


def md4(data):
    """RFC 1320. OpenSSL has given it up."""
    mask = 0xFFFFFFFF
    data += b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    rounds = [
        (lambda x, y, z: x & y | ~x & z, 0, range(16), (3, 7, 11, 19)),
        (lambda x, y, z: x & y | x & z | y & z, 0x5A827999, [4 * (i % 4) + i // 4 for i in range(16)], (3, 5, 9, 13)),
        (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], (3, 9, 11, 15)),
    ]
    for at in range(0, len(data), 64):
        words = struct.unpack("<16I", data[at : at + 64])
        a, b, c, d = state
        for function, constant, order, shifts in rounds:
            for i, word in enumerate(order):
                a = (a + (function(b, c, d) & mask) + words[word] + constant) & mask
                a = (a << shifts[i % 4] | a >> (32 - shifts[i % 4])) & mask
                a, b, c, d = d, a, b, c
        state = [(old + new) & mask for old, new in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def challenge():
    """Message 2, with the domain `Domain` and the time."""
    target = "Domain".encode("utf-16-le")
    now = int((time.time() + 11644473600) * 10**7)
    info = struct.pack("<HH", 2, len(target)) + target + struct.pack("<HHQ", 7, 8, now) + bytes(4)
    nonce = os.urandom(8)
    # Unicode, request target, NTLM, always sign, domain, NTLM2 key, target info.
    flags = 0x1 | 0x4 | 0x200 | 0x8000 | 0x10000 | 0x80000 | 0x800000
    message = b"NTLMSSP\0" + struct.pack("<I", 2)
    message += struct.pack("<HHI", len(target), len(target), 48) + struct.pack("<I", flags) + nonce + bytes(8)
    message += struct.pack("<HHI", len(info), len(info), 48 + len(target)) + target + info
    return nonce, message


def is_proven(message, nonce, password):
    """Whether message 3 is the answer to the challenge, by section 3.3.2."""

    def field(at):
        length, _, offset = struct.unpack_from("<HHI", message, at)
        return message[offset : offset + length]

    response, domain, user = field(20), field(28).decode("utf-16-le"), field(36).decode("utf-16-le")
    key = hmac.digest(md4(password.encode("utf-16-le")), (user.upper() + domain).encode("utf-16-le"), "md5")
    proof = hmac.digest(key, nonce + response[16:], "md5")
    return user == "user" and hmac.compare_digest(proof, response[:16])


def main():
    nonce = None
    for line in sys.stdin:
        verb, _, text = line.strip().partition(" ")
        if verb == "YR":
            nonce, message = challenge()
            answer = "TT " + base64.b64encode(message).decode()
        elif verb == "KK" and nonce and is_proven(base64.b64decode(text), nonce, sys.argv[1]):
            answer = "AF user"
        else:
            answer = "NA no such user"
        print(answer, flush=True)


assert md4(b"abc").hex() == "a448017aaf21d8525fc10ae87aa6729d"
main()
