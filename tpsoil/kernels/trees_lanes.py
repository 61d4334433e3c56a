"""Sixty-four pixels at a time: the vector steps of the walk, as LLVM and as plain numpy.

A set of up to 64 pixels is one uint64 word, bit i for pixel i. Five steps need the processor's vectors, and numba
cannot request them: each is an intrinsic that emits LLVM's generic vector instructions. LLVM emits the best
instructions of the processor (four for `at_most` with AVX-512), and correct code on any other. With JIT off the
same names are plain numpy.

The layout of a node's 64-bit word, written by `tpsoil.forest.packing`, is here because two of the steps read it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

Array = npt.NDArray[Any]

# A split node: code of the threshold (16 bits), plane of its feature (12), distance to the left child (32), spare (2),
# whether the right and the left child are leaves. The right child follows the left one. A leaf: all bits set.
CODE_MASK: Final = np.uint64(0xFFFF)
PLANE_SHIFT: Final = np.uint64(16)
PLANE_MASK: Final = np.uint64(0xFFF)
STEP_SHIFT: Final = np.uint64(28)
STEP_MASK: Final = np.uint64(0xFFFFFFFF)
RIGHT_LEAF: Final = np.uint64(1 << 62)
LEFT_LEAF: Final = np.uint64(1 << 63)
LEAF: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

LANES: Final = 64
HALF: Final = np.uint64(32)
LOW: Final = np.uint64(0xFFFFFFFF)
ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)
EIGHT: Final = np.uint64(8)


def _vector(count: int, bits: int) -> Any:
    return ir.VectorType(ir.IntType(bits), count)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any, vector: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _load(builder: Any, pointer: Any, item_bytes: int) -> Any:
    value = builder.load(pointer)
    value.align = item_bytes
    return value


def _store(builder: Any, value: Any, pointer: Any, item_bytes: int) -> None:
    builder.store(value, pointer).align = item_bytes


def _resize(builder: Any, value: Any, bits: int) -> Any:
    if value.type.width > bits:
        return builder.trunc(value, ir.IntType(bits))
    return builder.zext(value, ir.IntType(bits)) if value.type.width < bits else value


def _spread(builder: Any, value: Any, count: int) -> Any:
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(_vector(count, 32), [0] * count))


def _constant(vector: Any, value: Any) -> Any:
    return ir.Constant(vector, [int(value)] * vector.count)


def _at_most(_context: Any, codes: Any, offset: Any, code: Any) -> Any:
    bits = codes.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], _vector(LANES, bits))
        values = _load(builder, pointer, bits // 8)
        limit = _spread(builder, _resize(builder, args[2], bits), LANES)
        return builder.bitcast(builder.icmp_unsigned("<=", values, limit), ir.IntType(64))

    return types.uint64(codes, types.uint64, types.uint64), generate


def _code_of(_context: Any, word: Any, wide: Any, node: Any) -> Any:
    narrow = wide.dtype.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if narrow:
            return builder.and_(args[0], ir.Constant(ir.IntType(64), int(CODE_MASK)))
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        return builder.zext(builder.load(builder.gep(data, [args[2]])), ir.IntType(64))

    return types.uint64(types.uint64, wide, types.uint64), generate


def _assign(_context: Any, labels: Any, offset: Any, pixels: Any, label: Any) -> Any:
    bits = labels.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], _vector(LANES, bits))
        new = _spread(builder, _resize(builder, args[3], bits), LANES)
        chosen = builder.bitcast(args[2], _vector(LANES, 1))
        _store(builder, builder.select(chosen, new, _load(builder, pointer, bits // 8)), pointer, bits // 8)
        return context.get_dummy_value()

    return types.void(labels, types.uint64, types.uint64, types.uint64), generate


def _clear_eight(_context: Any, queue: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _vector(8, 64)
        _store(
            builder, _constant(vector, 0), _pointer(context, builder, signature.args[0], args[0], args[1], vector), 8
        )
        return context.get_dummy_value()

    return types.void(queue, types.uint64), generate


def _split_eight(
    _context: Any, queue: Any, source: Any, bits: Any, words: Any, inner: Any, leaf: Any, sets: Any
) -> Any:
    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        vector, wide, byte = _vector(8, 64), ir.IntType(64), ir.IntType(8)
        array, source_at, bits_at, words_at, inner_at, leaf_at, sets_after = args
        compress = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(vector, [vector, _vector(8, 1), vector]),
            "llvm.experimental.vector.compress.v8i64",
        )
        count = b.module.declare_intrinsic("llvm.ctpop", [byte])
        undefined = ir.Constant(vector, ir.Undefined)

        def at(offset: Any) -> Any:
            return _pointer(context, b, signature.args[0], array, offset, vector)

        def append(selected: Any, nodes: Any, pixels: Any, offset: Any) -> Any:
            # The full vector is stored: entries beyond the selected ones are overwritten by the next append.
            _store(b, b.call(compress, [nodes, selected, undefined]), at(offset), 8)
            _store(b, b.call(compress, [pixels, selected, undefined]), at(b.add(offset, sets_after)), 8)
            return b.zext(b.call(count, [b.bitcast(selected, byte)]), wide)

        nodes, pixels = _load(b, at(source_at), 8), _load(b, at(b.add(source_at, sets_after)), 8)
        goes_left, word = _load(b, at(bits_at), 8), _load(b, at(words_at), 8)
        left, right = b.and_(pixels, goes_left), b.and_(pixels, b.not_(goes_left))
        step = b.and_(b.lshr(word, _constant(vector, STEP_SHIFT)), _constant(vector, STEP_MASK))
        left_node = b.add(nodes, step)
        right_node = b.add(left_node, _constant(vector, 1))
        none = _constant(vector, 0)
        left_leaf = b.icmp_unsigned("!=", b.and_(word, _constant(vector, LEFT_LEAF)), none)
        right_leaf = b.icmp_unsigned("!=", b.and_(word, _constant(vector, RIGHT_LEAF)), none)
        any_left, any_right = b.icmp_unsigned("!=", left, none), b.icmp_unsigned("!=", right, none)
        a = append(b.and_(any_left, b.not_(left_leaf)), left_node, left, inner_at)
        c = append(b.and_(any_right, b.not_(right_leaf)), right_node, right, b.add(inner_at, a))
        d = append(b.and_(any_left, left_leaf), left_node, left, leaf_at)
        e = append(b.and_(any_right, right_leaf), right_node, right, b.add(leaf_at, d))
        return b.or_(b.add(a, c), b.shl(b.add(d, e), ir.Constant(wide, 32)))

    u = types.uint64
    return u(queue, u, u, u, u, u, u), generate


def _plain_at_most(codes: Array, offset: Any, code: Any) -> Any:
    return np.packbits(codes[int(offset) : int(offset) + LANES] <= code, bitorder="little").view(np.uint64)[0]


def _plain_code_of(word: Any, wide: Array, node: Any) -> Any:
    return word & CODE_MASK if wide.dtype == np.uint16 else np.uint64(wide[int(node)])


def _plain_assign(labels: Array, offset: Any, pixels: Any, label: Any) -> None:
    chosen = np.unpackbits(np.array([pixels], dtype=np.uint64).view(np.uint8), bitorder="little").astype(bool)
    labels[int(offset) : int(offset) + LANES][chosen] = label


def _plain_clear_eight(queue: Array, at: Any) -> None:
    queue[int(at) : int(at) + 8] = 0


def _plain_split_eight(queue: Array, source: Any, bits: Any, words: Any, inner: Any, leaf: Any, sets_after: Any) -> Any:
    def eight(at: Any) -> Array:
        return queue[int(at) : int(at) + 8].copy()

    nodes, pixels, goes_left, word = eight(source), eight(source + sets_after), eight(bits), eight(words)
    counts = [0, 0]
    left_node = nodes + ((word >> STEP_SHIFT) & STEP_MASK)
    for child, sets, flag in (
        (left_node, pixels & goes_left, LEFT_LEAF),
        (left_node + ONE, pixels & ~goes_left, RIGHT_LEAF),
    ):
        is_leaf = (word & flag) != 0
        for which, at in enumerate((inner, leaf)):
            selected = (sets != 0) & (is_leaf if which else ~is_leaf)
            start, stop = int(at) + counts[which], int(at) + counts[which] + int(selected.sum())
            queue[start:stop] = child[selected]
            queue[start + int(sets_after) : stop + int(sets_after)] = sets[selected]
            counts[which] += int(selected.sum())
    return np.uint64(counts[0]) | (np.uint64(counts[1]) << HALF)


PLAIN: Final = {
    "at_most": _plain_at_most,
    "code_of": _plain_code_of,
    "assign": _plain_assign,
    "clear_eight": _plain_clear_eight,
    "split_eight": _plain_split_eight,
}
"""The steps in numpy: what runs with JIT off, and what tests hold the vector forms to."""

_VECTORS: Final = (_at_most, _code_of, _assign, _clear_eight, _split_eight)
_STEPS: Any = PLAIN.values() if config.DISABLE_JIT else map(intrinsic, _VECTORS)
at_most, code_of, assign, clear_eight, split_eight = _STEPS
