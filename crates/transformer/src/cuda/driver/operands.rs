//! Matrix products of rows, as cuBLASLt names them.
//!
//! Our matrices are row-major, cuBLASLt's column-major. A row-major `[rows, columns]` is a
//! column-major `[columns, rows]` with a stride of `columns` between its columns, so the product of
//! rows `y = x · W` is computed as `yᵀ = Wᵀ · xᵀ`, with nothing moved:
//!
//! | ours, row-major | cuBLASLt's, column-major | stride |
//! | --- | --- | --- |
//! | `x: [rows, inner]` | second factor `[inner, rows]` | `inner` |
//! | `W: [inner, outputs]`, `y = x · W` | first factor `[outputs, inner]` as it is | `outputs` |
//! | `W: [outputs, inner]`, `y = x · Wᵀ` | first factor `[inner, outputs]`, transposed | `inner` |
//! | `y: [rows, outputs]` | result `[outputs, rows]` | `outputs` |
//!
//! A bias of the result's rows is then one value for each of our outputs.

/// The numbers of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Number {
    /// The upper half of an f32.
    Bf16,
    /// f32.
    F32,
}

impl Number {
    /// Bytes of one.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// How weights lie, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Weights {
    /// `[outputs, inner]`: a layer forward.
    ByOutput,
    /// `[inner, outputs]`: the same layer backward, where what it read is the output.
    ByInput,
}

/// A kind of product, apart from how many rows it has. Sums are in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    /// The numbers of `x` and `W`.
    pub(crate) inputs: Number,
    /// The numbers of `y`, and of the bias.
    pub(crate) result: Number,
    /// Values of a row of `x`.
    pub(crate) inner: u32,
    /// Values of a row of `y`.
    pub(crate) outputs: u32,
    /// How `W` lies.
    pub(crate) weights: Weights,
    /// Whether a bias is added to each row.
    pub(crate) has_bias: bool,
    /// Whether factors in f32 may be rounded to TF32.
    pub(crate) may_round: bool,
}

/// A matrix of cuBLASLt, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) rows: u64,
    pub(super) columns: u64,
    /// From one column to the next.
    pub(super) stride: u64,
}

/// The matrices of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operands {
    pub(super) weights: Matrix,
    pub(super) is_transposed: bool,
    pub(super) x: Matrix,
    pub(super) y: Matrix,
}

/// Bytes that a product reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) x: usize,
    pub(super) weights: usize,
    pub(super) bias: usize,
    pub(super) y: usize,
}

impl Product {
    /// The matrices for so many rows.
    pub(super) fn operands(&self, rows: usize) -> Operands {
        let (inner, outputs) = (u64::from(self.inner), u64::from(self.outputs));
        let of = |rows, columns| Matrix { rows, columns, stride: rows };
        let (weights, is_transposed) = match self.weights {
            Weights::ByOutput => (of(inner, outputs), true),
            Weights::ByInput => (of(outputs, inner), false),
        };
        let rows = rows as u64;
        Operands { weights, is_transposed, x: of(inner, rows), y: of(outputs, rows) }
    }

    /// How long the buffers must be for so many rows.
    pub(super) fn lengths(&self, rows: usize) -> Lengths {
        let (inner, outputs) = (self.inner as usize, self.outputs as usize);
        Lengths {
            x: rows * inner * self.inputs.bytes(),
            weights: inner * outputs * self.inputs.bytes(),
            bias: if self.has_bias { outputs * self.result.bytes() } else { 0 },
            y: rows * outputs * self.result.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lengths, Matrix, Number, Operands, Product, Weights};

    fn product(weights: Weights) -> Product {
        Product {
            inputs: Number::Bf16,
            result: Number::F32,
            inner: 3,
            outputs: 5,
            weights,
            has_bias: true,
            may_round: false,
        }
    }

    /// cuBLASLt's definition: `result = op(first) · second + bias`, by columns.
    fn multiply(operands: &Operands, first: &[f32], second: &[f32], bias: &[f32]) -> Vec<f32> {
        let at = |matrix: &Matrix, row: u64, column: u64| {
            assert!(row < matrix.rows && column < matrix.columns, "{row}, {column} of {matrix:?}");
            (column * matrix.stride + row) as usize
        };
        let (weights, x, y) = (&operands.weights, &operands.x, &operands.y);
        let mut result = vec![f32::NAN; (y.columns * y.stride) as usize];
        for column in 0..y.columns {
            for row in 0..y.rows {
                let terms = (0..x.rows).map(|k| {
                    let place = match operands.is_transposed {
                        true => at(weights, k, row),
                        false => at(weights, row, k),
                    };
                    first[place] * second[at(x, k, column)]
                });
                result[at(y, row, column)] = terms.sum::<f32>() + bias[row as usize];
            }
        }
        result
    }

    fn check(weights: Weights, rows: usize) {
        let product = product(weights);
        let (inner, outputs) = (product.inner as usize, product.outputs as usize);
        // Whole numbers, so that every order of sums gives the same.
        let numbers = |len, seed: usize| -> Vec<f32> {
            (0..len).map(|at| ((at * 7 + seed) % 11) as f32 - 5.0).collect()
        };
        let (x, w) = (numbers(rows * inner, 1), numbers(inner * outputs, 4));
        let bias = numbers(outputs, 9);
        let mut expected = Vec::new();
        for row in 0..rows {
            for output in 0..outputs {
                let terms = (0..inner).map(|k| {
                    let weight = match weights {
                        Weights::ByOutput => w[output * inner + k],
                        Weights::ByInput => w[k * outputs + output],
                    };
                    x[row * inner + k] * weight
                });
                expected.push(terms.sum::<f32>() + bias[output]);
            }
        }
        let found = multiply(&product.operands(rows), &w, &x, &bias);
        assert_eq!(found, expected, "{weights:?}, {rows} rows");
    }

    #[test]
    fn products_of_rows_are_products_of_columns() {
        for rows in [1, 2, 7] {
            check(Weights::ByOutput, rows);
            check(Weights::ByInput, rows);
        }
    }

    #[test]
    fn lengths_are_those_of_the_numbers() {
        let lengths = product(Weights::ByOutput).lengths(7);
        assert_eq!(lengths, Lengths { x: 42, weights: 30, bias: 20, y: 140 });
        let plain = Product { has_bias: false, ..product(Weights::ByOutput) };
        assert_eq!(plain.lengths(7).bias, 0);
    }
}
