//! The kernels' text, as a compiler gets it.

use crate::backend::{Fault, Precision};

/// What buffers of rows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Real {
    /// f32.
    Float,
    /// The upper half of an f32.
    Bf16,
}

impl Real {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Float, Self::Bf16];

    /// What rows are in a precision, if cards have it.
    pub(super) fn of(precision: Precision) -> Result<Self, Fault> {
        match precision {
            Precision::F32 => Ok(Self::Float),
            Precision::Bf16 => Ok(Self::Bf16),
            Precision::Int8 => {
                let words = "cards have no products in int8 here\nhint: use precision bf16 or f32";
                Err(Fault::Refused(words.to_owned()))
            }
        }
    }

    /// The line in front of the text.
    fn define(self) -> &'static str {
        match self {
            Self::Float => "",
            Self::Bf16 => "#define REAL_BF16\n",
        }
    }
}

/// A file of kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Without folder and ending.
    pub name: &'static str,
    /// What it holds, without what every file begins with.
    pub text: &'static str,
    /// The formats of rows that its kernels are for.
    pub reals: &'static [Real],
}

macro_rules! files {
    ($($name:literal for $reals:expr),* $(,)?) => {
        &[$(File {
            name: $name,
            text: include_str!(concat!("kernels/", $name, ".cu")),
            reals: &$reals,
        }),*]
    };
}

/// Every file of kernels.
pub(super) const FILES: &[File] = files![
    "gelu" for Real::ALL,
    "norm" for Real::ALL,
    "linear" for Real::ALL,
    "attention" for Real::ALL,
    "tensor_attention" for [Real::Bf16],
    "lora" for Real::ALL,
    "pool" for Real::ALL,
    "rows" for Real::ALL,
    "loss" for Real::ALL,
    "optimizer" for Real::ALL,
];

/// What every file begins with.
pub(super) const HEADERS: &str = concat!(
    include_str!("kernels/common.cuh"),
    include_str!("kernels/eights.cuh"),
    include_str!("kernels/product.cuh"),
    include_str!("kernels/tensor.cuh"),
    include_str!("kernels/tensor_product.cuh"),
    include_str!("kernels/attention.cuh"),
);

/// What the compiler must be told for the kernels to have the bits that they promise: no product is
/// fused with a sum but where the text says so, small numbers are kept, and quotients and roots are
/// the nearest.
pub(super) const OPTIONS: [&str; 5] =
    ["--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--std=c++17"];

impl File {
    /// The files for a format of rows.
    pub(super) fn all_for(real: Real) -> impl Iterator<Item = &'static Self> {
        FILES.iter().filter(move |file| file.reals.contains(&real))
    }

    /// The whole text for the compiler.
    pub(super) fn source(&self, real: Real) -> String {
        [real.define(), HEADERS, self.text].concat()
    }
}

/// One text of all files, for the processor.
#[cfg(any(test, feature = "emulation"))]
pub(super) fn all_for_host(real: Real) -> String {
    let files: Vec<&str> = File::all_for(real).map(|file| file.text).collect();
    [real.define(), &for_host(&files.concat())].concat()
}

/// A text of kernels, for the processor.
#[cfg(any(test, feature = "emulation"))]
pub(super) fn for_host(text: &str) -> String {
    [include_str!("kernels/host.h"), HEADERS, text].concat()
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Kernel;
    use super::FILES;

    /// `(name, threads)` of each `KERNEL(name, Arguments, threads)` in a text.
    fn declared(text: &str) -> Vec<(&str, &str)> {
        let calls = text.split("\nKERNEL(").skip(1);
        let calls = calls.map(|rest| rest.split(')').next().unwrap().split(", "));
        calls.map(|mut words| (words.next().unwrap(), words.nth(1).unwrap())).collect()
    }

    fn threads(word: &str) -> u32 {
        match word {
            "THREADS" => 256,
            "ATTENTION_THREADS" => 64,
            "TENSOR_THREADS" => 64,
            other => panic!("{other} is no number of threads that is known here"),
        }
    }

    #[test]
    fn the_table_of_kernels_names_all_that_the_files_declare_and_no_more() {
        for file in FILES {
            let found: Vec<_> =
                declared(file.text).into_iter().map(|(name, word)| (name, threads(word))).collect();
            let listed = Kernel::ALL.iter().filter(|kernel| kernel.file() == file.name);
            let listed: Vec<_> = listed.map(|kernel| (kernel.name(), kernel.threads())).collect();
            assert_eq!(found, listed, "{}", file.name);
        }
        let is_there = |kernel: &&Kernel| FILES.iter().any(|file| file.name == kernel.file());
        assert!(Kernel::ALL.iter().all(|kernel| is_there(&kernel)));
    }
}
