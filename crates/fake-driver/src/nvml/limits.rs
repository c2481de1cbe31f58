//! Memory limits of control groups, which drivers have since r615.

use cotenant_fake_cards::{LimitRefused, MemoryLimitFacts};

use super::card::argument;
use super::{Device, cards, present};
use crate::codes::nvml;
use crate::ffi::{Out, Text, driver};

/// NVML's `nvmlSetMemoryLimits_v1_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SetLimits {
    path: Text,
    soft: u64,
    hard: u64,
}

/// NVML's `nvmlGetMemoryLimits_v1_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct GetLimits {
    path: Text,
    soft: u64,
    hard: u64,
    used: u64,
}

driver! {
    nvml:

    fn nvmlDeviceSetMemoryLimits_v1(device: Device, limits: Out<SetLimits>) {
        let (card, _) = present(device)?;
        let wanted = limits.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        let path = wanted.path.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        if wanted.soft > wanted.hard {
            return Err(nvml::INVALID_ARGUMENT);
        }
        let limit = MemoryLimitFacts { soft: wanted.soft, hard: wanted.hard };
        cards()?.set_memory_limit(card, &path, limit).map_err(|refused| match refused {
            LimitRefused::Unfit => nvml::NOT_SUPPORTED,
            LimitRefused::Full => nvml::INSUFFICIENT_RESOURCES,
        })
    }

    fn nvmlDeviceGetMemoryLimits_v1(device: Device, limits: Out<GetLimits>) {
        let (card, _) = present(device)?;
        let asked = limits.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        let path = asked.path.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        let found = cards()?.memory_limit(card, &path);
        let (soft, hard) = (found.soft, found.hard);
        argument(limits.set(GetLimits { soft, hard, used: 0, ..asked }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_as_long_as_the_headers_say() {
        assert_eq!((size_of::<SetLimits>(), size_of::<GetLimits>()), (24, 32));
    }
}
