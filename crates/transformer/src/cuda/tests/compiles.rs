//! The kernels' text by the compiler for cards, which needs none.

use std::thread;

use crate::cuda::driver::tests::compiling::compiler;
use crate::cuda::driver::{Compiler, Source, Target};
use crate::cuda::kernel::Kernel;
use crate::cuda::source::{FILES, File, OPTIONS};

/// Cards of the oldest and of a newer kind that the kernels are for.
const CARDS: [u32; 2] = [80, 90];
/// Bytes of registers that a kernel may keep in memory: a few where a thread holds much.
const SPILLED_BYTES_MAX: u32 = 16;

fn check(compiler: &Compiler, file: &File, card: u32) {
    let options = [&OPTIONS[..], &["--ptxas-options=-v"]].concat();
    for &real in file.reals {
        let text = file.source(real);
        let source = Source { name: file.name, text: &text, options: &options };
        let compiled = compiler.compile(&source, Target::Machine(card));
        let compiled = compiled.unwrap_or_else(|error| panic!("{error}"));
        let (bytes, log) = (compiled.image.len(), compiled.log);
        eprintln!("{} for sm_{card}, {real:?}: {bytes} bytes\n{log}", file.name);
        let own = Kernel::ALL.iter().filter(|kernel| kernel.file() == file.name);
        for kernel in own.map(|kernel| kernel.name()) {
            let line = format!("Compiling entry function '{kernel}'");
            let (_, said) = log.split_once(&line).unwrap_or_else(|| panic!("no {kernel}"));
            let (before, _) = said.split_once(" bytes spill stores").unwrap();
            let spilled = before.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
            assert!(spilled <= SPILLED_BYTES_MAX, "{kernel} for sm_{card} spills {spilled} bytes");
        }
    }
}

#[test]
fn every_file_compiles_for_every_card_in_its_formats() {
    let Some(compiler) = compiler() else { return };
    thread::scope(|scope| {
        for card in CARDS {
            let compiler = &compiler;
            scope.spawn(move || FILES.iter().for_each(|file| check(compiler, file, card)));
        }
    });
}
