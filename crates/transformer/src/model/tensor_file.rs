//! Reading a safetensors file tensor by tensor, with limits of our own around the header.
//!
//! The file is read with seeks and a small buffer, not mapped: a mapped file that somebody
//! truncates kills the process, and the peak is one copy of what is kept, in f32.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::ModelError;
use super::json::abridged;

/// Longest header that is read; that of a 48-layer encoder has about 100 KiB.
const HEADER_BYTES_MAX: u64 = 4 << 20;

/// Bytes in front of the header: its length.
const LENGTH_BYTES: u64 = 8;

/// Bytes converted at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// An open safetensors file whose header has been checked against the file's length.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor begins.
    start: u64,
}

impl TensorFile {
    /// Opens a file and reads its header; `None` if there is no such file.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, ModelError> {
        let failed = |source| ModelError::Io { action: "read", path: path.to_owned(), source };
        let damaged = |reason| ModelError::Header { path: path.to_owned(), reason };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes < LENGTH_BYTES {
            return Err(damaged(format!("it has {bytes} bytes, too few for a header")));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX {
            let reason = format!(
                "its header claims {length} bytes, and at most {HEADER_BYTES_MAX} are read \
                 (is it a safetensors file?)"
            );
            return Err(damaged(reason));
        }
        let start = LENGTH_BYTES + length;
        if start > bytes {
            let reason = format!("its header has {length} bytes, but the file only {bytes}");
            return Err(damaged(reason));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
            damaged(format!("its header is broken: {}", abridged(&error.to_string())))
        })?;
        let expected = start.saturating_add(metadata.data_len() as u64);
        if expected != bytes {
            let reason = format!("its tensors end at byte {expected}, but the file has {bytes}");
            return Err(damaged(reason));
        }
        Ok(Some(Self { path: path.to_owned(), file, metadata, start }))
    }

    /// The file's name, for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in the order of the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Shape of a tensor, if the file has it.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// Reads a tensor of f32, f16 or bf16 values as f32, row-major. Its shape must be `shape`, and
    /// its values finite.
    pub(crate) fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let expected = format!("shape {shape:?}");
        let Some(TensorInfo { dtype, shape: found, data_offsets }) = self.metadata.info(name)
        else {
            return Err(self.wrong(name, expected, "no such tensor".to_owned()));
        };
        let (dtype, offsets) = (*dtype, *data_offsets);
        if found != shape {
            return Err(self.wrong(name, expected, format!("shape {found:?}")));
        }
        let convert = match dtype {
            Dtype::F32 => extend_f32,
            Dtype::F16 => extend_f16,
            Dtype::BF16 => extend_bf16,
            other => {
                let expected = "values of type F32, F16 or BF16".to_owned();
                return Err(self.wrong(name, expected, format!("{other:?}")));
            }
        };
        let values = self
            .convert(offsets, dtype.bitsize() / 8, convert)
            .map_err(|source| ModelError::Io { action: "read", path: self.path.clone(), source })?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => {
                let found = format!("{} at index {at}", values[at]);
                Err(self.wrong(name, "finite values".to_owned(), found))
            }
        }
    }

    fn convert(
        &mut self,
        (begin, end): (usize, usize),
        value_bytes: usize,
        convert: fn(&[u8], &mut Vec<f32>),
    ) -> std::io::Result<Vec<f32>> {
        self.file.seek(SeekFrom::Start(self.start + begin as u64))?;
        // The header was checked against the file's length, so this asks for no more than twice
        // what is really there.
        let mut values = Vec::with_capacity((end - begin) / value_bytes);
        let mut buffer = [0; BUFFER_BYTES];
        let mut left = end - begin;
        while left > 0 {
            let bytes = left.min(BUFFER_BYTES);
            self.file.read_exact(&mut buffer[..bytes])?;
            convert(&buffer[..bytes], &mut values);
            left -= bytes;
        }
        Ok(values)
    }

    fn wrong(&self, tensor: &str, expected: String, found: String) -> ModelError {
        ModelError::Tensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            expected,
            found,
            hint: "the file does not belong to its configuration, or is damaged; fetch both again",
        }
    }
}

fn extend_f32(bytes: &[u8], values: &mut Vec<f32>) {
    let chunks = bytes.as_chunks::<4>().0;
    values.extend(chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)));
}

fn extend_f16(bytes: &[u8], values: &mut Vec<f32>) {
    let chunks = bytes.as_chunks::<2>().0;
    values.extend(chunks.iter().map(|&chunk| f32_from_f16(u16::from_le_bytes(chunk))));
}

/// bf16 is the upper half of an f32.
fn extend_bf16(bytes: &[u8], values: &mut Vec<f32>) {
    let chunks = bytes.as_chunks::<2>().0;
    values.extend(
        chunks.iter().map(|&chunk| f32::from_bits(u32::from(u16::from_le_bytes(chunk)) << 16)),
    );
}

/// The exact value of an IEEE half: sign, 5 bits of exponent, 10 of fraction.
fn f32_from_f16(bits: u16) -> f32 {
    let exponent = i32::from(bits >> 10 & 0x1F);
    let fraction = f32::from(bits & 0x3FF);
    let magnitude = match exponent {
        0 => fraction * f32::powi(2.0, -24),
        0x1F if fraction == 0.0 => f32::INFINITY,
        0x1F => f32::NAN,
        _ => (1024.0 + fraction) * f32::powi(2.0, exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::f32_from_f16;

    #[test]
    fn halves_become_the_same_numbers() {
        // Bits and values from the tables of IEEE 754-2008, binary16.
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03FF, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3C00, 1.0),
            (0x3C01, 1.000_976_6),
            (0xC000, -2.0),
            (0x7BFF, 65504.0),
            (0x7C00, f32::INFINITY),
            (0xFC00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(f32_from_f16(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert!(f32_from_f16(0x7E00).is_nan());
    }
}
