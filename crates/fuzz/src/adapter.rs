//! Adapters as peft saves them: their configuration, and the names and shapes of their tensors.

use std::collections::BTreeMap;

use cotenant_transformer::Adapter;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::Verdict;
use crate::memory;
use crate::message;
use crate::scratch::Scratch;
use crate::tensors::tiny;

/// Most rows or columns of a tensor.
const SIDE_MAX: usize = 16;

/// An `adapter_config.json`, and after a zero byte a line `ROWSxCOLUMNS NAME` for each tensor:
/// what is read is the same once it is written and read again.
pub fn adapter_config(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (config, tensors) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let tensors = weights(&String::from_utf8_lossy(tensors));
    let scratch =
        Scratch::new(&[("adapter_config.json", config), ("adapter_model.safetensors", &tensors)]);
    let shape = tiny(3);
    let read_bytes = config.len() + tensors.len();
    let adapter = match memory::bounded(read_bytes, || Adapter::load_peft(scratch.path(), &shape)) {
        Ok(adapter) => adapter,
        Err(error) => {
            message::check(&error, scratch.path());
            return Verdict::Refused;
        }
    };
    assert_eq!(adapter.values.len(), adapter.layout.len());
    for entry in adapter.layout.entries() {
        assert!(entry.scale.is_finite() && entry.rank > 0 && entry.site.layer < shape.layers);
    }
    let copy = scratch.at("copy");
    adapter.save_peft(&copy, "base").expect("what was read can be written");
    let again = Adapter::load_peft(&copy, &shape).expect("what was written can be read");
    assert_eq!(again, adapter, "it changed when it was written and read");
    Verdict::Accepted
}

/// A safetensors file of these tensors, each with values of its own.
fn weights(lines: &str) -> Vec<u8> {
    let tensors: BTreeMap<&str, [usize; 2]> = lines.lines().filter_map(tensor).collect();
    let data: Vec<Vec<u8>> = tensors
        .values()
        .enumerate()
        .map(|(at, [rows, columns])| {
            (0..rows * columns).flat_map(|i| ((at * 1000 + i) as f32).to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data);
        (name, view.expect("as many bytes as the shape says"))
    });
    serialize(views, None).expect("nothing is too large")
}

fn tensor(line: &str) -> Option<(&str, [usize; 2])> {
    let (shape, name) = line.split_once(' ')?;
    let (rows, columns) = shape.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| *side <= SIDE_MAX);
    Some((name, [side(rows)?, side(columns)?]))
}
