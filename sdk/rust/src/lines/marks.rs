//! The line ends in a block of bytes, as bits.

/// How many bytes are looked at at once.
pub(super) const BLOCK: usize = 64;

/// A bit for each byte that ends a line, the lowest for the first.
#[cfg(all(target_family = "wasm", target_feature = "simd128"))]
#[inline]
pub(super) fn marks(block: &[u8; BLOCK]) -> u64 {
    use std::arch::wasm32::{i8x16_bitmask, i8x16_eq, i8x16_splat, i64x2};

    let end = i8x16_splat(b'\n'.cast_signed());
    let (quarters, _) = block.as_chunks::<16>();
    quarters.iter().rev().fold(0, |marks, quarter| {
        let (halves, _) = quarter.as_chunks::<8>();
        let [low, high] = [halves[0], halves[1]].map(i64::from_le_bytes);
        marks << 16 | u64::from(i8x16_bitmask(i8x16_eq(i64x2(low, high), end)))
    })
}

/// A bit for each byte that ends a line, the lowest for the first.
#[cfg(not(all(target_family = "wasm", target_feature = "simd128")))]
#[inline]
pub(super) fn marks(block: &[u8; BLOCK]) -> u64 {
    memchr::memchr_iter(b'\n', block).fold(0, |marks, index| marks | 1 << index)
}
