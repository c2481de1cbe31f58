//! The matrix unit as the architecture's manual defines it: palette 1, bf16.

use super::super::super::lanes::{Isa, kernel};

const TILES: usize = 8;
const ROWS_MAX: usize = 16;
const ROW_BYTES_MAX: usize = 64;

/// A row's bytes.
type Row = [u8; ROW_BYTES_MAX];

/// Configuration and contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    shapes: Option<[Shape; TILES]>,
    start_row: usize,
    contents: [[Row; ROWS_MAX]; TILES],
}

/// Why the processor would raise a fault instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `#GP`: a configuration that no processor takes.
    Config,
    /// `#UD`: no configuration is loaded.
    Unconfigured,
    /// `#UD`: the tile has no rows, or rows that are no whole words.
    Tile,
    /// `#UD`: a tile in two roles.
    SameTile,
    /// `#UD`: shapes that do not make a product.
    Shapes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    rows: usize,
    row_bytes: usize,
}

impl Unit {
    /// As after a reset.
    pub(super) const INITIAL: Self =
        Self { shapes: None, start_row: 0, contents: [[[0; ROW_BYTES_MAX]; ROWS_MAX]; TILES] };

    /// `ldtilecfg`: also clears every tile.
    pub(super) fn load_config(&mut self, config: &[u8; 64]) -> Result<(), Fault> {
        if config[0] == 0 {
            self.release();
            return Ok(());
        }
        // Reserved: behind the starting row, and where the palette has no further tiles.
        let reserved = [&config[2..16], &config[32..48], &config[56..64]].concat();
        if config[0] != 1 || reserved.iter().any(|byte| *byte != 0) {
            return Err(Fault::Config);
        }
        let mut shapes = [Shape::default(); TILES];
        for (tile, shape) in shapes.iter_mut().enumerate() {
            let row_bytes = [config[16 + 2 * tile], config[17 + 2 * tile]];
            shape.row_bytes = usize::from(u16::from_le_bytes(row_bytes));
            shape.rows = usize::from(config[48 + tile]);
            let is_too_large = shape.rows > ROWS_MAX || shape.row_bytes > ROW_BYTES_MAX;
            if is_too_large || (shape.rows == 0) != (shape.row_bytes == 0) {
                return Err(Fault::Config);
            }
        }
        *self = Self { shapes: Some(shapes), start_row: config[1].into(), ..Self::INITIAL };
        Ok(())
    }

    /// `tilerelease`
    pub(super) fn release(&mut self) {
        *self = Self::INITIAL;
    }

    /// `tilezero`
    pub(super) fn zero(&mut self, tile: u8) -> Result<(), Fault> {
        self.any_shape(tile)?;
        self.contents[usize::from(tile)] = [[0; ROW_BYTES_MAX]; ROWS_MAX];
        self.start_row = 0;
        Ok(())
    }

    /// `tileloadd`: one row from every `stride` bytes. What is above the tile's shape becomes zero.
    ///
    /// # Safety
    /// The rows may be read.
    pub(super) unsafe fn load(
        &mut self,
        tile: u8,
        from: *const u8,
        stride: isize,
    ) -> Result<(), Fault> {
        let shape = self.shape(tile)?;
        let start = std::mem::take(&mut self.start_row);
        let contents = &mut self.contents[usize::from(tile)];
        for (at, row) in contents.iter_mut().enumerate().skip(start) {
            *row = [0; ROW_BYTES_MAX];
            if at < shape.rows {
                // SAFETY: the caller vouches for these bytes.
                unsafe {
                    let from = from.wrapping_offset(at as isize * stride);
                    from.copy_to_nonoverlapping(row.as_mut_ptr(), shape.row_bytes);
                }
            }
        }
        Ok(())
    }

    /// `tilestored`
    ///
    /// # Safety
    /// The rows may be written.
    pub(super) unsafe fn store(
        &mut self,
        tile: u8,
        to: *mut u8,
        stride: isize,
    ) -> Result<(), Fault> {
        let shape = self.shape(tile)?;
        let start = std::mem::take(&mut self.start_row);
        let rows = self.contents[usize::from(tile)][..shape.rows].iter().enumerate();
        for (at, row) in rows.skip(start) {
            // SAFETY: the caller vouches for these bytes.
            unsafe {
                let to = to.wrapping_offset(at as isize * stride);
                to.copy_from_nonoverlapping(row.as_ptr(), shape.row_bytes);
            }
        }
        Ok(())
    }

    /// `tdpbf16ps`: `sums += left · right`, pairs along `k`.
    pub(super) fn multiply(&mut self, sums: u8, left: u8, right: u8) -> Result<(), Fault> {
        if sums == left || sums == right || left == right {
            return Err(Fault::SameTile);
        }
        let [c, a, b] = [self.shape(sums)?, self.shape(left)?, self.shape(right)?];
        if c.rows != a.rows || c.row_bytes != b.row_bytes || a.row_bytes / 4 != b.rows {
            return Err(Fault::Shapes);
        }
        let right = self.contents[usize::from(right)];
        let left = self.contents[usize::from(left)];
        let rows = &mut self.contents[usize::from(sums)];
        for (row, left) in rows.iter_mut().zip(&left).take(c.rows) {
            add_products(Isa::detect(), &left[..a.row_bytes], &right, &mut row[..c.row_bytes]);
        }
        self.start_row = 0;
        Ok(())
    }

    /// The shape of a tile that exists.
    fn any_shape(&self, tile: u8) -> Result<Shape, Fault> {
        let shapes = self.shapes.as_ref().ok_or(Fault::Unconfigured)?;
        let shape = shapes[usize::from(tile)];
        if shape.rows == 0 { Err(Fault::Tile) } else { Ok(shape) }
    }

    /// The shape of a tile of whole words.
    fn shape(&self, tile: u8) -> Result<Shape, Fault> {
        let shape = self.any_shape(tile)?;
        if shape.row_bytes % 4 == 0 { Ok(shape) } else { Err(Fault::Tile) }
    }
}

kernel! {
    /// One row: the first and the second values of the pairs are summed apart, each in one chain of
    /// fused multiply-adds, and both sums are added to what was there.
    fn add_products(left: &[u8], right: &[Row; ROWS_MAX], sums: &mut [u8]) {
        let (mut first, mut second) = ([0.0; ROW_BYTES_MAX / 4], [0.0; ROW_BYTES_MAX / 4]);
        for (left, right) in left.chunks_exact(4).zip(right) {
            let [x, y] = pair(left);
            for (n, right) in right.chunks_exact(4).enumerate() {
                let right = pair(right);
                first[n] = flush(x.mul_add(right[0], first[n]));
                second[n] = flush(y.mul_add(right[1], second[n]));
            }
        }
        for (n, sum) in sums.chunks_exact_mut(4).enumerate() {
            let before = f32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
            let after = flush(flush(before) + flush(first[n] + second[n]));
            sum.copy_from_slice(&after.to_le_bytes());
        }
    }
}

#[inline(always)]
fn pair(bytes: &[u8]) -> [f32; 2] {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    [f32::from_bits(word << 16), f32::from_bits(word & 0xFFFF_0000)].map(flush)
}

/// Subnormal numbers count as zero, coming and going.
#[inline(always)]
fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration of tiles `(rows, bytes of a row)`.
    fn config(shapes: &[(u8, u16)]) -> [u8; 64] {
        let mut config = [0; 64];
        config[0] = 1;
        for (tile, (rows, row_bytes)) in shapes.iter().enumerate() {
            config[16 + 2 * tile..][..2].copy_from_slice(&row_bytes.to_le_bytes());
            config[48 + tile] = *rows;
        }
        config
    }

    fn configured(shapes: &[(u8, u16)]) -> Unit {
        let mut unit = Unit::INITIAL;
        unit.load_config(&config(shapes)).unwrap();
        unit
    }

    fn load(unit: &mut Unit, tile: u8, values: &[u8], stride: isize) {
        // SAFETY: the tests pass as many values as the tile's shape and the stride reach.
        unsafe { unit.load(tile, values.as_ptr(), stride) }.unwrap();
    }

    fn store(unit: &mut Unit, tile: u8, len: usize, stride: isize) -> Vec<u8> {
        let mut values = vec![0xEE; len];
        // SAFETY: as above.
        unsafe { unit.store(tile, values.as_mut_ptr(), stride) }.unwrap();
        values
    }

    fn floats(values: &[u8]) -> Vec<f32> {
        values.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn bf16(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes().into_iter().skip(2)).collect()
    }

    #[test]
    fn configurations_that_fault() {
        let check = |change: &dyn Fn(&mut [u8; 64]), expected| {
            let mut config = config(&[(16, 64), (3, 12)]);
            change(&mut config);
            let outcome = { Unit::INITIAL }.load_config(&config);
            assert_eq!(outcome, expected, "{config:?}");
        };
        check(&|_| (), Ok(()));
        check(&|c| c[0] = 0, Ok(()));
        check(&|c| c[0] = 2, Err(Fault::Config));
        check(&|c| c[48] = 17, Err(Fault::Config));
        check(&|c| c[16] = 65, Err(Fault::Config));
        check(&|c| c[17] = 1, Err(Fault::Config));
        check(&|c| c[49] = 0, Err(Fault::Config));
        check(&|c| c[18] = 0, Err(Fault::Config));
        for reserved in [2, 15, 32, 47, 56, 63] {
            check(&|c| c[reserved] = 1, Err(Fault::Config));
        }
    }

    #[test]
    fn uses_that_fault() {
        let check = |shapes: &[(u8, u16)], tiles: [u8; 3], expected| {
            let [sums, left, right] = tiles;
            let outcome = configured(shapes).multiply(sums, left, right);
            assert_eq!(outcome, expected, "{shapes:?} {tiles:?}");
        };
        let product = [(3, 20), (3, 8), (2, 20)];
        check(&product, [0, 1, 2], Ok(()));
        check(&product, [0, 2, 1], Err(Fault::Shapes));
        check(&product, [0, 1, 1], Err(Fault::SameTile));
        check(&product, [0, 0, 2], Err(Fault::SameTile));
        check(&product, [0, 1, 0], Err(Fault::SameTile));
        check(&product, [0, 1, 3], Err(Fault::Tile));
        check(&[(4, 20), (3, 8), (2, 20)], [0, 1, 2], Err(Fault::Shapes));
        check(&[(3, 16), (3, 8), (2, 20)], [0, 1, 2], Err(Fault::Shapes));
        check(&[(3, 20), (3, 12), (2, 20)], [0, 1, 2], Err(Fault::Shapes));
        check(&[(3, 21), (3, 8), (2, 21)], [0, 1, 2], Err(Fault::Tile));

        let mut released = configured(&product);
        released.release();
        assert_eq!(released.zero(0), Err(Fault::Unconfigured));
        assert_eq!(configured(&product).zero(3), Err(Fault::Tile));
        assert_eq!(released.multiply(0, 1, 2), Err(Fault::Unconfigured));
    }

    #[test]
    fn rows_are_loaded_and_stored_by_stride_and_cut_to_the_shape() {
        let values: Vec<u8> = (0..=255).collect();
        let mut unit = configured(&[(2, 8)]);
        load(&mut unit, 0, &values, 100);
        let mut expected = vec![0xEE; 18];
        expected[..8].copy_from_slice(&values[..8]);
        expected[10..].copy_from_slice(&values[100..108]);
        assert_eq!(store(&mut unit, 0, 18, 10), expected);
        unit.zero(0).unwrap();
        assert_eq!(store(&mut unit, 0, 16, 8), [0; 16]);
    }

    #[test]
    fn a_product_of_pairs() {
        // Two rows of two pairs, two pairs of one column, and what was there.
        let mut unit = configured(&[(2, 4), (2, 8), (2, 4)]);
        let sums: Vec<u8> = [1000.0_f32, 2000.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        load(&mut unit, 0, &sums, 4);
        load(&mut unit, 1, &bf16(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), 8);
        load(&mut unit, 2, &bf16(&[1.0, 10.0, 100.0, -1.0]), 4);
        unit.multiply(0, 1, 2).unwrap();
        let expected = [1000.0 + 1.0 + 20.0 + 300.0 - 4.0, 2000.0 + 5.0 + 60.0 + 700.0 - 8.0];
        assert_eq!(floats(&store(&mut unit, 0, 8, 4)), expected);
    }

    #[test]
    fn sums_are_made_in_the_order_of_the_manual_and_without_subnormals() {
        let one = |sum: f32, left: [f32; 4], right: [f32; 4]| {
            let mut unit = configured(&[(1, 4), (1, 8), (2, 4)]);
            load(&mut unit, 0, &sum.to_le_bytes(), 4);
            load(&mut unit, 1, &bf16(&left), 8);
            load(&mut unit, 2, &bf16(&right), 4);
            unit.multiply(0, 1, 2).unwrap();
            floats(&store(&mut unit, 0, 4, 4))[0]
        };
        // First values apart from second ones: 2^24 + 1 and 1 - 2^24 would lose their ones together.
        let large = 16_777_216.0;
        assert_eq!(one(0.0, [large, 1.0, -large, 1.0], [1.0; 4]), 2.0);
        // What was there comes last.
        assert_eq!(one(large, [1.0, 0.0, 1.0, 0.0], [1.0; 4]), large + 2.0);
        // A product below the smallest number is kept inside a sum, and nowhere else.
        let tiny = f32::MIN_POSITIVE;
        assert_eq!(one(0.0, [tiny, 0.0, 0.0, 0.0], [0.5; 4]), 0.0);
        assert_eq!(one(0.0, [tiny, 0.0, tiny, 0.0], [1.0, 0.0, 0.5, 0.0]), 1.5 * tiny);
        assert_eq!(one(tiny / 2.0, [tiny, 0.0, 0.0, 0.0], [1.0; 4]), tiny);
        assert_eq!(one(0.0, [tiny / 2.0, 0.0, 0.0, 0.0], [4.0; 4]), 0.0);
    }
}
