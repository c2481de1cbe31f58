//! Writing a safetensors file tensor by tensor, so that no second copy of a model is in memory.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

/// Bytes collected before each write.
const BUFFER_BYTES: usize = 1 << 16;

/// What transformers and peft look for: tensors as PyTorch lays them out.
const FORMAT: (&str, &str) = ("format", "pt");

/// Writes f32 tensors in the order that the header promised.
pub(crate) struct TensorWriter<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> TensorWriter<W> {
    /// Writes the header of the tensors `(name, shape)` that will follow.
    pub(crate) fn new(out: W, tensors: Vec<(String, Vec<usize>)>) -> io::Result<Self> {
        let mut end = 0;
        let described = tensors.into_iter().map(|(name, shape)| {
            let begin = end;
            end += shape.iter().product::<usize>() * size_of::<f32>();
            (name, TensorInfo { dtype: Dtype::F32, shape, data_offsets: (begin, end) })
        });
        let format = HashMap::from([(FORMAT.0.to_owned(), FORMAT.1.to_owned())]);
        let metadata = Metadata::new(Some(format), described.collect())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut header = serde_json::to_vec(&metadata)?;
        // Readers map the file, and want the tensors aligned.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self { out })
    }

    /// Writes the next tensor's values, row-major.
    pub(crate) fn write(&mut self, values: &[f32]) -> io::Result<()> {
        values.iter().try_for_each(|value| self.out.write_all(&value.to_le_bytes()))
    }

    /// Gives back what was written to, with everything written.
    pub(crate) fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}
