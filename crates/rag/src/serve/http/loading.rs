//! Adapters that come and go while the server runs, as vLLM has it.

use axum::extract::State;

use super::body::Body;
use super::fault::Fault;
use super::shared::Shared;
use super::wire::{LoadAdapterRequest, UnloadAdapterRequest};
use crate::serve::access::Caller;
use crate::serve::adapters::{AdapterError, AdapterSource, Keep, Place};

pub(super) async fn load(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<LoadAdapterRequest>,
) -> Result<String, Fault> {
    let name = request.lora_name.clone();
    shared.check_name_is_free(&name).map_err(|error| Fault::of_adapter(&error, &caller))?;
    let source = AdapterSource {
        name: request.lora_name,
        folder: request.lora_path.into(),
        keep: if request.pinned { Keep::Pinned } else { Keep::WhileUsed },
        prefixes: None,
        tokens_max: None,
    };
    let place = if request.load_inplace { Place::FreeOrTaken } else { Place::Free };
    let loaded = shared.adapters.bring(source, place).await;
    loaded.map_err(|error| Fault::of_adapter(&error, &caller))?;
    Ok(format!("Success: LoRA adapter '{name}' added successfully."))
}

pub(super) async fn unload(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<UnloadAdapterRequest>,
) -> Result<String, Fault> {
    let name = request.lora_name;
    let unloaded = shared.adapters.unload(&name);
    unloaded.map_err(|error| Fault::of_adapter(&error, &caller))?;
    Ok(format!("Success: LoRA adapter '{name}' removed successfully."))
}

impl Shared {
    /// The base model keeps its names.
    fn check_name_is_free(&self, name: &str) -> Result<(), AdapterError> {
        match name == super::shared::BASE || name == self.model.name {
            true => Err(AdapterError::OfBase { name: name.to_owned() }),
            false => Ok(()),
        }
    }
}
