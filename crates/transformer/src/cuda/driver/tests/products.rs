use std::path::Path;
use std::process::Command;

use super::{World, open, sentence};
use crate::cuda::driver::{Buffer, Card, Factors, Number, Product, Products, Weights};

const HERE: &str = module_path!();

#[test]
fn without_cublaslt_a_note_says_what_is_done_instead() {
    let variables = vec![("COTENANT_CUBLASLT", "nowhere/libcublasLt.so.13".into())];
    let world = World { variables, ..World::new("memory=64MiB") };
    world.run((HERE, "without_cublaslt_a_note_says_what_is_done_instead"), || {
        let note = Products::open(&open()).unwrap_err().to_string();
        let expected = "products are computed by Cotenant's own kernel, which is slower: cuBLASLt \
                        cannot be used: nowhere/libcublasLt.so.13: ";
        assert!(note.starts_with(expected), "{note}");
        assert!(note.contains("\nhint: "), "{note}");
    });
}

/// Builds a cuBLASLt of our own beside the driver.
fn add_cublaslt(folder: &Path) {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cuda/driver/tests/light.c");
    let library = folder.join("libcublasLt.so.13");
    let options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wl,-soname,libcublasLt.so.13", "-o"];
    let built = Command::new("cc").args(options).arg(&library).arg(text).status();
    assert!(built.expect("a C compiler is needed for this").success());
}

fn world() -> World {
    World { add: add_cublaslt, settings: "driver=13000", ..World::new("memory=64MiB") }
}

/// Numbers that are whole and small, so that every order of sums and every rounding keeps them.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 7 + at / 5 + seed) % 5) as f32 - 2.0).collect()
}

fn upload(card: &Card, number: Number, values: &[f32]) -> Buffer {
    let arriving = match number {
        Number::F32 => card.upload_values(values),
        Number::Bf16 => {
            let upper: Vec<u16> = values.iter().map(|one| (one.to_bits() >> 16) as u16).collect();
            card.upload_values(&upper)
        }
    };
    arriving.unwrap().ready().unwrap()
}

fn download(card: &Card, number: Number, buffer: &Buffer) -> Vec<f32> {
    let bytes = card.download(buffer).unwrap().wait().unwrap();
    match number {
        Number::F32 => bytes.values().to_vec(),
        Number::Bf16 => {
            let values = bytes.values::<u16>().iter();
            values.map(|upper| f32::from_bits(u32::from(*upper) << 16)).collect()
        }
    }
}

/// A product by its definition, of rows; and what the card makes of it, in a buffer with room for a
/// row more, which must stay as it was.
fn check((card, products): (&Card, &Products), product: &Product, rows: usize, adds: bool) {
    let (inner, outputs) = (product.inner as usize, product.outputs as usize);
    let (x, weights) = (numbers(rows * inner, 1), numbers(inner * outputs, 2));
    let (bias, before) = (numbers(outputs, 3), numbers((rows + 1) * outputs, 4));
    let mut expected = before.clone();
    for (at, place) in expected[..rows * outputs].iter_mut().enumerate() {
        let (row, output) = (at / outputs, at % outputs);
        let weight = |k: usize| match product.weights {
            Weights::ByOutput => weights[output * inner + k],
            Weights::ByInput => weights[k * outputs + output],
        };
        let sum: f32 = (0..inner).map(|k| x[row * inner + k] * weight(k)).sum();
        let kept = if adds { *place } else { 0.0 };
        *place = sum + kept + if product.has_bias { bias[output] } else { 0.0 };
    }
    let bias = product.has_bias.then(|| upload(card, product.result, &bias));
    let mut y = upload(card, product.result, &before);
    let factors = Factors {
        rows,
        x: &upload(card, product.inputs, &x),
        weights: &upload(card, product.inputs, &weights),
        bias: bias.as_ref(),
        y: &mut y,
        adds,
    };
    assert!(products.multiply(product, factors).unwrap());
    assert_eq!(download(card, product.result, &y), expected, "{product:?}, {rows} rows");
}

#[test]
fn rows_are_multiplied_as_they_lie() {
    world().run((HERE, "rows_are_multiplied_as_they_lie"), || {
        let card = open();
        let products = Products::open(&card).unwrap();
        let (float, half) = (Number::F32, Number::Bf16);
        for (inputs, result) in [(float, float), (half, float), (half, half)] {
            for weights in [Weights::ByOutput, Weights::ByInput] {
                for (has_bias, adds) in [(false, false), (true, false), (false, true)] {
                    let (inner, outputs, may_round) = (9, 6, false);
                    let product =
                        Product { inputs, result, inner, outputs, weights, has_bias, may_round };
                    for rows in [0, 1, 5, 40] {
                        check((&card, &products), &product, rows, adds);
                    }
                }
            }
        }
    });
}

#[test]
fn what_cannot_be_multiplied_is_said() {
    world().run((HERE, "what_cannot_be_multiplied_is_said"), || {
        let card = open();
        let products = Products::open(&card).unwrap();
        let product = Product {
            inputs: Number::F32,
            result: Number::F32,
            inner: 8,
            outputs: 4,
            weights: Weights::ByOutput,
            has_bias: false,
            may_round: false,
        };
        let (x, weights) = (card.buffer(3 * 8 * 4).unwrap(), card.buffer(13 * 4 * 4).unwrap());
        let mut y = card.buffer(3 * 4 * 4).unwrap();
        let mut multiply = |product: &Product, rows| {
            let (x, weights, y) = (&x, &weights, &mut y);
            let factors = Factors { rows, x, weights, bias: None, y, adds: false };
            products.multiply(product, factors)
        };
        let error = multiply(&product, 4).unwrap_err();
        assert_eq!(sentence(&error), "a product's x is 96 bytes long, not 128");
        let error = multiply(&Product { has_bias: true, ..product }, 1).unwrap_err();
        assert_eq!(sentence(&error), "a product's bias is 0 bytes long, not 16");
        assert!(multiply(&product, 3).unwrap());
        // No algorithm does this one.
        assert!(!multiply(&Product { inner: 13, ..product }, 1).unwrap());
    });
}

/// The sentence of a product that fails when it is computed, on such cards.
fn check_failing(test: &str, world: World, expected: &str) {
    world.run((HERE, test), || {
        let card = open();
        let products = Products::open(&card).unwrap();
        let (number, weights) = (Number::F32, Weights::ByOutput);
        let (inner, outputs, has_bias, may_round) = (11, 4, false, false);
        let product = Product {
            inputs: number,
            result: number,
            inner,
            outputs,
            weights,
            has_bias,
            may_round,
        };
        let [x, weights] = [11, 44].map(|len| card.buffer(4 * len).unwrap());
        let y = &mut card.buffer(4 * 4).unwrap();
        let factors = Factors { rows: 1, x: &x, weights: &weights, bias: None, y, adds: false };
        let error = products.multiply(&product, factors).unwrap_err();
        assert!(sentence(&error).starts_with(expected), "{error}");
    });
}

#[test]
fn a_product_that_fails_is_refused() {
    let world = World { add: add_cublaslt, settings: "driver=13000", ..World::new("memory=1GiB") };
    check_failing("a_product_that_fails_is_refused", world, "a product was refused: ");
}

#[test]
fn a_product_that_fails_after_a_kernel_did_names_the_kernels_fault() {
    let test = "a_product_that_fails_after_a_kernel_did_names_the_kernels_fault";
    let world = world().failing("cuMemGetInfo_v2 code=700");
    let expected = "a kernel failed on card 0: CUDA_ERROR_ILLEGAL_ADDRESS, found while asking for \
                    its memory";
    check_failing(test, world, expected);
}

#[test]
fn a_product_that_fails_on_a_full_card_had_no_room() {
    let test = "a_product_that_fails_on_a_full_card_had_no_room";
    check_failing(test, world(), "card 0 has no memory left for a product");
}
