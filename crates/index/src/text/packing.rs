//! Small numbers in few bits.
//!
//! A full block of [`BLOCK`] numbers lies in four lanes, as in "Decoding billions of integers per
//! second through vectorization" (Lemire and Boytsov, arXiv:1209.2137), so that one instruction
//! moves four numbers; the compiler finds those instructions by itself. Fewer numbers lie end to
//! end, because a rare term must not pay for a whole block.

/// Numbers of a full block.
pub(super) const BLOCK: usize = 128;

/// Most bits of a number.
pub(super) const WIDTH_MAX: usize = 32;

const LANES: usize = 4;
const ROWS: usize = BLOCK / LANES;

/// A number of each lane.
type Row = [u32; LANES];

/// Bytes of a word of each lane.
const ROW_BYTES: usize = 4 * LANES;

/// Bytes that `count` numbers of `width` bits take.
pub(super) fn packed_bytes(count: usize, width: usize) -> usize {
    (count * width).div_ceil(8)
}

/// Bits that the largest of the numbers needs.
pub(super) fn width_of(numbers: &[u32]) -> usize {
    (u32::BITS - numbers.iter().fold(0, |all, number| all | number).leading_zeros()) as usize
}

/// Appends at most [`BLOCK`] numbers, none of more than `width` bits.
pub(super) fn pack(numbers: &[u32], width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + packed_bytes(numbers.len(), width), 0);
    let bytes = &mut out[start..];
    for (at, &number) in numbers.iter().enumerate() {
        for bit in 0..width {
            let place = match numbers.len() == BLOCK {
                true => {
                    let within = at / LANES * width + bit;
                    within / 32 * (8 * ROW_BYTES) + at % LANES * 32 + within % 32
                }
                false => at * width + bit,
            };
            bytes[place / 8] |= ((number >> bit & 1) as u8) << (place % 8);
        }
    }
}

/// Numbers as [`pack`] left them; there may be bytes behind them.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub bytes: &'a [u8],
    pub count: usize,
    pub width: usize,
}

impl Packed<'_> {
    /// Reads the numbers; what stands behind them in `out` is anything. Nothing if the bytes are
    /// too few or the width is none: then they are not what [`pack`] wrote.
    pub(super) fn unpack(self, out: &mut [u32; BLOCK]) -> Option<()> {
        let Self { bytes, count, width } = self;
        if width > WIDTH_MAX || count > BLOCK {
            return None;
        }
        let bytes = bytes.get(..packed_bytes(count, width))?;
        match count {
            _ if width == 0 => out.fill(0),
            BLOCK => unpack_block(bytes, width, out),
            _ => unpack_few(bytes, width, &mut out[..count]),
        }
        Some(())
    }
}

fn unpack_few(bytes: &[u8], width: usize, out: &mut [u32]) {
    // Eight bytes can be read from every place of the last number.
    let mut padded = [0; BLOCK * WIDTH_MAX / 8 + 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    for (at, number) in out.iter_mut().enumerate() {
        let bit = at * width;
        let eight = padded[bit / 8..][..8].try_into().expect("a slice of eight is eight");
        *number = (u64::from_le_bytes(eight) >> (bit % 8) & ((1 << width) - 1)) as u32;
    }
}

/// One function for each width, so that all shifts are constants.
fn unpack_block(bytes: &[u8], width: usize, out: &mut [u32; BLOCK]) {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_width::<$width>(bytes, out),)*
                _ => unreachable!("the caller looked at the width"),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

fn unpack_width<const WIDTH: usize>(bytes: &[u8], out: &mut [u32; BLOCK]) {
    let (rows, _) = bytes.as_chunks::<ROW_BYTES>();
    let rows: &[[u8; ROW_BYTES]; WIDTH] = rows.try_into().expect("the caller cut them to size");
    let (numbers, _) = out.as_chunks_mut::<LANES>();
    let numbers: &mut [Row; ROWS] = numbers.try_into().expect("a block has so many rows");
    // Written out, so that every shift is a constant; a loop was three times as long.
    macro_rules! each_row {
        ($($row:literal)*) => { $(numbers[$row] = unpack_row::<WIDTH>(rows, $row);)* };
    }
    each_row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
}

#[inline(always)]
fn unpack_row<const WIDTH: usize>(rows: &[[u8; ROW_BYTES]; WIDTH], row: usize) -> Row {
    let (word, shift) = (row * WIDTH / 32, row * WIDTH % 32);
    let mask = u32::MAX >> (WIDTH_MAX - WIDTH);
    let low = lanes_of(&rows[word]);
    if shift + WIDTH <= 32 {
        return low.map(|lane| lane >> shift & mask);
    }
    let high = lanes_of(&rows[word + 1]);
    // Masked before it is joined: a shift of both as one is slow on some processors.
    std::array::from_fn(|lane| low[lane] >> shift | (high[lane] << (32 - shift) & mask))
}

#[inline(always)]
fn lanes_of(row: &[u8; ROW_BYTES]) -> Row {
    let (lanes, _) = row.as_chunks::<4>();
    std::array::from_fn(|lane| u32::from_le_bytes(lanes[lane]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_and_count_come_back() {
        for width in 0..=WIDTH_MAX {
            for count in [1, 2, 7, 31, 127, BLOCK] {
                let mask = if width == 0 { 0 } else { u32::MAX >> (WIDTH_MAX - width) };
                let numbers: Vec<u32> = (0..count as u32)
                    .map(|at| at.wrapping_mul(0x9e37_79b9).rotate_left(at) & mask)
                    .collect();
                let mut bytes = vec![7];
                pack(&numbers, width, &mut bytes);
                assert_eq!(bytes.len(), 1 + packed_bytes(count, width));
                let mut out = [9; BLOCK];
                Packed { bytes: &bytes[1..], count, width }.unpack(&mut out).unwrap();
                assert_eq!(&out[..count], numbers, "{count} of {width} bits");
                assert!(width_of(&numbers) <= width);
                if width > 0 {
                    assert_eq!(Packed { bytes: &bytes[2..], count, width }.unpack(&mut out), None);
                }
            }
        }
        assert_eq!(
            Packed { bytes: &[0; 1000], count: BLOCK, width: 33 }.unpack(&mut [0; BLOCK]),
            None
        );
    }
}
