//! Reading one adapter, whatever its folder holds.

use std::fs;
use std::sync::Arc;

use cotenant_transformer::{Adapter, EncoderConfig};
use sha2::{Digest, Sha256};

use super::error::AdapterError;
use super::{AdapterSource, Loaded};

/// Reads an adapter's files for a model of this shape.
pub(super) fn load(
    source: Arc<AdapterSource>,
    generation: u64,
    (config, bytes_max): (&EncoderConfig, u64),
) -> Result<Loaded, AdapterError> {
    let name = || source.name.clone();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        // A pipe would hold the thread for as long as nobody writes into it; a file that is not
        // there is told of by whoever reads it.
        let Ok(about) = fs::metadata(source.folder.join(file)) else { continue };
        if !about.is_file() {
            return Err(AdapterError::NotAFile { name: name(), file });
        }
        if about.len() > bytes_max {
            return Err(AdapterError::TooLarge { name: name(), bytes: about.len(), bytes_max });
        }
    }
    let adapter = Adapter::load_peft(&source.folder, config)
        .map_err(|error| AdapterError::Load { name: name(), source: Arc::new(error) })?;
    let digest = digest(&adapter);
    Ok(Loaded { source, generation, adapter, digest })
}

/// A hash of all that an adapter does to a model.
fn digest(adapter: &Adapter) -> String {
    let mut hash = Sha256::new();
    for entry in adapter.layout.entries() {
        let place = [entry.site.layer, entry.site.module as usize, entry.rank];
        place.iter().for_each(|&number| hash.update((number as u64).to_le_bytes()));
        hash.update(entry.scale.to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(1 << 16);
    for values in adapter.values.chunks(1 << 14) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
